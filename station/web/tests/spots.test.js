/** Hot spots: always a band, in words of both languages, and an honest sentence where there is none. */

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { setLanguage } from "../src/state/i18n";
import { label, place, placeless, shown, spots, told } from "../src/state/spots";
import { show } from "../src/state/station";
import { lane, scan, vehicle } from "./lane";

globalThis.localStorage ??= { setItem() {} };
globalThis.document ??= { documentElement: {} };

const spot = (other = {}) => ({
  kind: "gamma", s_m: 7.1, sigma_m: 0.15, fwhm_m: 5, distributed: false, candidate: false, speed_from: "encoder", version: 2,
  col: null, sigma_cols: null, ...other,
});
function seen(hot_spots, other = {}) {
  const radiation = { gamma: { state: "done" }, neutron: { state: "done" }, hot_spots, unlocated: [], ...other };
  show(lane(vehicle({ radiation })));
}

beforeEach(() => setLanguage("en"));

test("a place is a band of two standard errors to each side, never a point", () => {
  seen([spot()]);
  assert.equal(place("gamma"), "Source 6.8–7.4 m behind the nose");
  assert.equal(place("neutron"), null);
  assert.equal(label(spots.peek()[0]), "γ 6.8–7.4 m");
  setLanguage("es");
  assert.equal(place("gamma"), "Fuente de 6.8 a 7.4 m desde el frente");
  assert.equal(label(spots.peek()[0]), "γ 6.8 a 7.4 m");
});

test("no band begins before the nose", () => {
  const [near] = shown([spot({ s_m: 0.3, sigma_m: 0.4 })]);
  assert.deepEqual([near.from, near.to], [0, 1.1]);
});

test("no band reaches behind the tail, once the image shows it", () => {
  seen([spot({ fwhm_m: 15.4, distributed: true })]);
  assert.equal(place("gamma"), "Source spread over 0.0–14.8 m behind the nose");
  const radiation = { gamma: { state: "done" }, neutron: { state: "done" }, hot_spots: [spot({ fwhm_m: 15.4, distributed: true })], unlocated: [] };
  show(lane(vehicle({ radiation, scan: scan({ col_nose: 100, col_tail: 2500 }) })));
  assert.equal(place("gamma"), "Source spread over 0.0–12.0 m behind the nose");
});

test("half the peak's height counts only where goods are spread", () => {
  const [point, goods, narrow] = shown([spot({ fwhm_m: 11 }), spot({ fwhm_m: 11, distributed: true }),
    spot({ fwhm_m: 8, sigma_m: 3, distributed: true })]);
  assert.equal(point.wide, null);
  assert.deepEqual(goods.wide, [1.6, 12.6].map((m) => goods.wide.find((each) => Math.abs(each - m) < 1e-9)));
  assert.ok(narrow.wide[0] <= narrow.from && narrow.wide[1] >= narrow.to, "never narrower than the place");
  seen([spot({ fwhm_m: 11, distributed: true })]);
  assert.equal(place("gamma"), "Source spread over 1.6–12.6 m behind the nose");
  assert.equal(label(spots.peek()[0]), "γ 1.6–12.6 m, spread");
});

test("each of several candidates stands with a question mark", () => {
  seen([spot({ candidate: true }), spot({ s_m: 9, candidate: true }), spot({ kind: "neutron", s_m: 3 })]);
  assert.equal(place("gamma"), "Source 6.8–7.4 m behind the nose, or Source 8.7–9.3 m behind the nose");
  assert.deepEqual(spots.peek().map(label), ["γ 6.8–7.4 m ?", "γ 8.7–9.3 m ?", "n 2.7–3.3 m"]);
});

test("low energies have a band of their own where they say something else", () => {
  assert.deepEqual(shown([spot(), spot({ kind: "gamma_low", s_m: 7.3 })]).map(({ kind }) => kind), ["gamma"]);
  assert.deepEqual(shown([spot(), spot({ kind: "gamma_low", s_m: 9 })]).map(({ kind }) => kind), ["gamma", "gamma_low"]);
  assert.deepEqual(shown([spot({ kind: "neutron" }), spot({ kind: "gamma_low" })]).length, 2);
});

test("who does not see the picture hears the place", () => {
  seen([spot(), spot({ kind: "neutron", s_m: 3 })]);
  assert.equal(told("Radiograph"), "Radiograph. gamma: Source 6.8–7.4 m behind the nose. neutrons: Source 2.7–3.3 m behind the nose");
  assert.equal(told("Radiograph", ({ kind }) => kind === "neutron"), "Radiograph. neutrons: Source 2.7–3.3 m behind the nose");
  seen([]);
  assert.equal(told("Radiograph"), "Radiograph");
});

test("without a place it says why, or that it is still to come", () => {
  seen([], { unlocated: [{ kind: "neutron", why: "edge" }] });
  assert.equal(placeless("neutron"), "Place not known: peak at an end");
  assert.equal(placeless("gamma"), "Place along the vehicle not known");
  seen([], { gamma: { state: "measuring" } });
  assert.equal(placeless("gamma"), "Place follows when the truck has passed");
});
