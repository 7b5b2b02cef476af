/** The lane's reducer and the orders: what a press does while the station answers late, refuses or says nothing. */

import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import * as orders from "../src/state/orders";
import * as station from "../src/state/station";
import { alarm, lane, vehicle } from "./lane";

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
  now += station.DEAD_MS;
  orders.tick.value += 1;
  await settled();
});

afterEach(() => {
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
  now += station.DEAD_MS;
  orders.tick.value += 1;
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
  now += station.DEAD_MS;
  orders.tick.value += 1;
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
