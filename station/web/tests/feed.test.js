/** The stream: what counts as a second of the station's life. */

import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { start } from "../src/api/feed";
import { alarms } from "../src/state/station";
import { alarm, centre, lane, vehicle } from "./lane";

const streams = [];
globalThis.addEventListener = () => undefined;
globalThis.document = { body: { dataset: {} }, hidden: false };
globalThis.EventSource = class {
  heard = {};
  constructor() {
    streams.push(this);
  }
  addEventListener(name, take) {
    this.heard[name] = take;
  }
  close() {}
  say(name, data) {
    this.heard[name]({ data: JSON.stringify(data), lastEventId: "" });
  }
};
const snapshot = lane(vehicle());
const strip = { t_ms: [], counts: [] };
globalThis.fetch = async (path) => Response.json(path === "/v1/lane" ? snapshot : { gamma: strip, neutron: strip });

test("only heartbeats of one unbroken stream are seconds apart: broken streams end no alarm early", async () => {
  mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  start();
  for (let i = 0; i < 10; i += 1) await new Promise((resolve) => setImmediate(resolve));
  const beat = () => {
    streams.at(-1).say("lane", { lane: snapshot });
    streams.at(-1).say("hb", { utc_us: 1, web: "1", centre });
    return alarms.value.length;
  };
  streams.at(-1).say("alarm_raw", { alarm: alarm({ stored: false }) });
  for (let broken = 1; broken < 40; broken += 1) {
    assert.equal(beat(), 1);
    streams.at(-1).onerror();
    mock.timers.tick(4000);
    assert.equal(streams.length, 1 + broken);
  }
  const left = Array.from({ length: 32 }, beat);
  assert.deepEqual(left, [...Array(31).fill(1), 0]);
  mock.timers.reset();
});
