/** The lane's reducer and the orders: what a press does while the station answers late, refuses or says nothing. */

import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { picture } from "../src/state/image";
import * as orders from "../src/state/orders";
import * as station from "../src/state/station";
import { view } from "../src/state/view";
import { alarm, lane, locked, scan, vehicle } from "./lane";

let now = 1_000_000;
let posts;
const settled = () => new Promise((resolve) => setImmediate(resolve));
/** Lets time pass in small steps, so that what waits for timers and answers can go on. */
async function pass(ms) {
  for (let left = ms; left > 0; left -= 100) {
    now += Math.min(100, left);
    mock.timers.tick(Math.min(100, left));
    for (let i = 0; i < 5; i += 1) await settled();
  }
}
/** Lets the moment after a change pass. */
function rest() {
  now += station.DEAD_MS;
  orders.tick.value += 1;
}
const bodies = (verdict) => posts.filter((post) => post.body.verdict === verdict);

beforeEach(async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  mock.method(performance, "now", () => now);
  posts = [];
  globalThis.fetch = (path, { body, headers }) => new Promise((resolve, reject) => {
    const answer = (status, problem = {}) => resolve(new Response(JSON.stringify(problem), { status }));
    posts.push({ path, body: JSON.parse(body), key: headers["Idempotency-Key"], answer, fail: () => reject(new Error("cut")) });
  });
  station.ageS.value = 0;
  station.rawAlarms.value = [];
  station.show(lane(vehicle()));
  rest();
  await settled();
});

afterEach(() => {
  mock.timers.tick(10_000); // a clock that is left over would stop one of the next test when it is cleared
  mock.timers.reset();
  mock.restoreAll();
});

test("Hold goes out at once while a Release waits for its answer, and the Release is not repeated", async () => {
  const releasing = orders.order("release", orders.seen());
  assert.equal(orders.pending.peek(), "release");
  const holding = orders.hold(orders.seen());
  assert.deepEqual(posts.map((post) => post.body.verdict), ["release", "hold"]);
  assert.notEqual(posts[0].key, posts[1].key);
  posts[0].fail();
  await pass(2000);
  assert.equal(bodies("release").length, 1);
  posts[1].answer(201);
  await pass(100);
  await Promise.all([releasing, holding]);
  assert.deepEqual([orders.pending.peek(), orders.holding.peek(), orders.unconfirmed.peek()], [null, false, null]);
});

test("Hold ends a Release that waits to be repeated, also when Hold is answered first", async () => {
  const releasing = orders.order("release", orders.seen());
  posts[0].fail();
  await pass(100);
  const holding = orders.hold(orders.seen());
  posts[1].answer(201);
  await pass(2000);
  await Promise.all([releasing, holding]);
  assert.deepEqual(posts.map((post) => post.body.verdict), ["release", "hold"]);
  assert.match(orders.note.peek(), /Held/);
});

test("an order without an answer is repeated with its own key, then given up and said so", async () => {
  const releasing = orders.order("release", orders.seen());
  posts[0].fail();
  await pass(100);
  assert.equal(orders.unconfirmed.peek(), "release");
  for (let i = 1; i < 40 && orders.pending.peek(); i += 1) {
    await pass(500);
    posts.at(-1).fail();
    await pass(100);
  }
  await releasing;
  assert.ok(posts.length > 5);
  assert.equal(new Set(posts.map((post) => post.key)).size, 1);
  assert.equal(orders.unconfirmed.peek(), null);
  assert.match(orders.note.peek(), /did not confirm/);
});

test("a recorded order is not given again before the station shows what became of it", async () => {
  station.show(lane(vehicle({ inspection_id: "v9" })));
  rest();
  const releasing = orders.order("release", orders.seen());
  posts[0].answer(201);
  await pass(100);
  await releasing;
  assert.equal(orders.releaseLock.peek(), "pending");
  await orders.order("release", orders.seen());
  await orders.order("secondary", orders.seen());
  assert.equal(posts.length, 1);
  station.show(lane(vehicle({ inspection_id: "v9", version: 8 })));
  assert.equal(orders.releaseLock.peek(), null);
});

test("an order is not repeated for another vehicle", async () => {
  const releasing = orders.order("release", orders.seen());
  station.show(lane(vehicle({ inspection_id: "v2" })));
  posts[0].fail();
  await pass(1000);
  await releasing;
  assert.equal(posts.length, 1);
});

test("Hold is repeated with its own key until the station answers", async () => {
  const holding = orders.hold(orders.seen());
  for (let i = 0; i < 40; i += 1) {
    posts.at(-1).fail();
    await pass(600);
  }
  assert.equal(orders.unconfirmed.peek(), "hold");
  assert.ok(posts.length > 30);
  assert.equal(new Set(posts.map((post) => post.key)).size, 1);
  posts.at(-1).answer(201);
  await pass(100);
  await holding;
  assert.match(orders.note.peek(), /Held/);
});

test("a press is void when the vehicle or an alarm changed since, and for 800 ms after", async () => {
  const before = orders.seen();
  station.show(lane(vehicle({ inspection_id: "v2" })));
  await orders.order("release", orders.seen());
  await orders.order("secondary", orders.seen());
  await orders.acknowledge("a1", orders.seen());
  rest();
  await orders.order("release", before);
  assert.equal(posts.length, 0);
  void orders.order("release", orders.seen());
  assert.equal(posts[0].body.inspection_id, "v2");
  posts[0].answer(201);
  await pass(100);
});

test("a refusal is said in words, an unknown one by its code", async () => {
  for (const [type, words] of [["version-conflict", /vehicle changed/], ["never-heard-of", /never-heard-of/]]) {
    const releasing = orders.order("release", orders.seen());
    posts.at(-1).answer(409, { type: `urn:carril:problem:${type}` });
    await pass(100);
    await releasing;
    assert.match(orders.note.peek(), words);
  }
});

test("a snapshot replaces all; an unstored alarm stays until the station lists it", () => {
  station.addRaw(alarm({ alarm_id: "raw", stored: false }));
  assert.equal(orders.releaseLock.value, "not_stored");
  station.show(lane(vehicle({ version: 4 })));
  assert.deepEqual(station.alarms.value.map((each) => each.alarm_id), ["raw"]);
  station.show(lane(vehicle({ version: 5 }), alarm({ alarm_id: "raw" })));
  assert.deepEqual(station.alarms.value.map((each) => each.stored), [true]);
  assert.equal(station.rawAlarms.value.length, 0);
});

test("an unstored alarm that no snapshot lists is dropped when it must have been listed, never before", () => {
  const raws = () => station.alarms.value.map((each) => each.alarm_id);
  station.addRaw(alarm({ alarm_id: "raw", stored: false }));
  for (let second = 1; second <= 30; second += 1) {
    // Records that were on their way to the disk before it, and a connection that was made anew meanwhile.
    station.show({ ...lane(vehicle({ version: 3 + second })), at: `e:${1 + second}` });
    now += 1000;
    station.beat();
    assert.deepEqual([raws(), orders.releaseLock.value], [["raw"], "not_stored"], `${second} s`);
  }
  const before = orders.seen();
  now += 1000;
  station.beat();
  assert.deepEqual([raws(), orders.releaseLock.value], [[], "dead"]);
  assert.notEqual(before.changed, orders.seen().changed, "a press on what stood there is void");
  station.addRaw(alarm({ alarm_id: "other", stored: false }));
  station.beat();
  assert.deepEqual(raws(), ["other"], "each alarm has its own seconds");
});

test("an alarm that the station does not know any more goes when it is acknowledged", async () => {
  station.addRaw(alarm({ alarm_id: "raw", stored: false }));
  rest();
  const acknowledging = orders.acknowledge("raw", orders.seen());
  posts.at(-1).answer(404, { type: "urn:carril:problem:not-found" });
  await acknowledging;
  assert.deepEqual(station.alarms.value, []);
  assert.match(orders.note.peek(), /alarm is over/);
  station.addRaw(alarm({ alarm_id: "raw", stored: false }));
  rest();
  const refused = orders.acknowledge("raw", orders.seen());
  posts.at(-1).answer(503, {});
  await refused;
  assert.equal(station.alarms.value.length, 1, "no answer says nothing of it");
});

test("an order that was taken back leaves no trace of a decision", () => {
  const at = (version, other) => station.show(lane(vehicle({ version, ...other })));
  const now = () => [orders.releaseStands.value, orders.releaseLock.value, orders.secondaryFree.value];
  at(4, { state: "decided", decision: { verdict: "release" }, release: locked("decided") });
  assert.deepEqual(now(), [false, "decided", false]);
  at(5, { level: "hold", flags: ["held"], release: locked("needs_supervisor") });
  assert.deepEqual(now(), [true, "needs_supervisor", true]);
});

const image = (other = {}) => ({
  scan: "s1", level: 1, rows: 1, width: 500, data: new Uint16Array(500), flags: null, mPerCol: 0.01, mPerRow: 0.01,
  noseM: 0, complete: true, ...other,
});

test("the reading counts from when this image came up, over all snapshots, and by the scan's own columns", async () => {
  const shown = (version, lost = 0) => station.show(lane(vehicle({ version, scan: scan({ lines: 800, lines_lost: lost }) })));
  shown(3, 200);
  picture.value = image();
  now += 5000;
  view.value = "viewer";
  for (let version = 4; version <= 6; version += 1) {
    now += 1000;
    shown(version, 200);
  }
  picture.value = image({ width: 400 });
  const reading = orders.readImage(orders.seen());
  void orders.readImage(orders.seen());
  posts.at(-1).answer(201);
  await reading;
  assert.deepEqual(posts.map((post) => post.body), [
    { inspection_id: "v1", version: 6, read_ms: 3000, seen_fraction: 0.8 },
  ], "once, however often it was tapped");
  picture.value = image({ scan: "s2" });
  station.show(lane(vehicle({ version: 7, scan: scan({ scan_id: "s2" }) })));
  now += 700;
  const next = orders.readImage(orders.seen());
  posts.at(-1).answer(201);
  await next;
  assert.deepEqual([posts[1].body.read_ms, posts[1].body.seen_fraction], [700, 1], "of another image it begins anew");
  picture.value = null;
  view.value = "lane";
});

test("a part of an image cannot be read", async () => {
  const tried = async (state, part) => {
    station.show(lane(vehicle({ scan: scan({ state }) })));
    picture.value = part;
    await Promise.race([orders.readImage(orders.seen()), settled()]);
    return [orders.readLock.value, posts.length];
  };
  assert.deepEqual(await tried("incomplete", image({ width: 400, complete: false })), ["image_incomplete", 0]);
  assert.deepEqual(await tried("complete", image({ scan: "s0" })), ["image_incomplete", 0], "of another scan");
  assert.deepEqual(await tried("scanning", image()), ["image_incomplete", 0]);
  assert.deepEqual(await tried("complete", null), ["image_incomplete", 0]);
  assert.deepEqual(await tried("incomplete", image()), ["pending", 1], "all there is of a scan that broke off");
  posts[0].answer(201);
  picture.value = null;
});

test("neutron comes before gamma, unseen before seen", () => {
  const gamma = alarm({ alarm_id: "g" });
  const neutron = alarm({ alarm_id: "n", code: "neutron_alarm" });
  station.show(lane(vehicle(), gamma, neutron));
  assert.equal(station.first.value.alarm_id, "n");
  station.show(lane(vehicle(), gamma, { ...neutron, state: "ack" }));
  assert.equal(station.first.value.alarm_id, "g");
});

test("radiation keeps a band of its own; where old data takes one, it is the other alarm that waits", () => {
  const gamma = alarm({ alarm_id: "g", state: "ack" });
  const moved = alarm({ alarm_id: "m", code: "barrier_moved_unordered" });
  const bands = () => station.banded.value.map((each) => each.alarm_id);
  station.show(lane(vehicle(), gamma, moved));
  assert.deepEqual(bands(), ["m", "g"]);
  station.ageS.value = station.STALE_S + 1;
  assert.deepEqual(bands(), ["g"]);
  station.show(lane(vehicle(), gamma, { ...moved, state: "ack" }));
  station.ageS.value = 0;
  assert.deepEqual(bands(), ["g"]);
});

test("the strips of one vehicle never reach the next", () => {
  const now = { gamma_cps: 5, neutron_cps: 1 };
  station.addLive({ inspection_id: "v1", gamma: [[0, 3, 0.1], [200, 4, 0.2]], neutron: [], now });
  station.addLive({ inspection_id: "v1", gamma: [[200, 4, 0.2], [400, 5, 0.3]], neutron: [], now });
  assert.deepEqual(station.strips.value.gamma.map((sample) => sample[1]), [3, 4, 5]);
  station.addLive({ inspection_id: "v0", gamma: [[600, 9, 0.4]], neutron: [], now });
  assert.equal(station.strips.value.gamma.length, 3);
  station.show(lane(vehicle({ inspection_id: "v2" })));
  assert.equal(station.strips.value.gamma.length, 0);
});
