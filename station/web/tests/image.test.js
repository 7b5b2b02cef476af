/** Following a scan: what does not come is asked for again, and no image outlives its scan. */

import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { followImage, picture } from "../src/state/image";
import { columns, show } from "../src/state/station";
import { lane, scan, vehicle } from "./lane";

const ROWS = 2;
const asked = (what) => requests.filter((path) => path.includes(what)).length;
let done;
let lost;
let requests;

async function settled() {
  for (let i = 0; i < 20; i += 1) await new Promise((resolve) => setImmediate(resolve));
}
async function second() {
  mock.timers.tick(1000);
  await settled();
}

/** A station with so many columns made; `lost` of its next answers never come. */
function answer(path) {
  requests.push(path);
  if (lost > 0) {
    lost -= 1;
    return Promise.reject(new Error("cut"));
  }
  const { searchParams, pathname } = new URL(path, "http://station");
  if (pathname.endsWith("/columns")) {
    const values = (searchParams.get("to") - searchParams.get("from")) * (ROWS / 2);
    return Promise.resolve(new Response(new Uint16Array(values).fill(7)));
  }
  return Promise.resolve(Response.json({
    id: pathname.split("/")[3], height: ROWS, kinds: ["mean"], cols_done: done, complete: done === 1000,
    col_nose: 0, px_mm_x: 5, px_mm_y: 5,
  }));
}

beforeEach(() => {
  mock.timers.enable({ apis: ["setTimeout"] });
  globalThis.fetch = answer;
  [done, lost, requests] = [1000, 0, []];
});
afterEach(async () => {
  show(lane(null));
  await second();
  mock.timers.reset();
});

const scanned = (other = {}) => show(lane(vehicle({ scan: scan({ lines: done, ...other }) })));
followImage();

test("one answer that does not come at the end of a scan is asked for again, in its own time", async () => {
  done = 800;
  scanned({ state: "scanning" });
  await settled();
  assert.deepEqual([picture.value.width, picture.value.complete], [400, false]);
  for (const lose of [1, 2]) {
    [done, lost] = [1000, lose];
    scanned({ state: lose === 1 ? "incomplete" : "complete" });
    await settled();
  }
  assert.deepEqual([picture.value.width, picture.value.complete], [400, false]);
  const before = requests.length;
  await settled();
  assert.equal(requests.length, before, "not without a pause");
  for (let i = 0; i < 4; i += 1) await second();
  assert.deepEqual([picture.value.width, picture.value.complete], [500, true]);
  const enough = requests.length;
  for (let i = 0; i < 3; i += 1) await second();
  assert.equal(requests.length, enough, "a whole image is asked for no more");
});

test("an image that is asked for and not whole yet is asked for again", async () => {
  done = 800;
  scanned({ state: "incomplete", lines: 1000 });
  await settled();
  assert.equal(picture.value.complete, false);
  done = 1000;
  await second();
  assert.equal(picture.value.complete, true);
});

test("nobody asks for the image of a vehicle that went", async () => {
  lost = Infinity;
  scanned();
  await settled();
  await second();
  assert.ok(asked("/s1/") >= 2);
  show(lane(null));
  const before = requests.length;
  for (let i = 0; i < 3; i += 1) await second();
  assert.equal(requests.length, before);
});

test("no image outlives its scan, even while that of the next one does not come", async () => {
  scanned();
  await settled();
  assert.equal(picture.value.scan, "s1");
  lost = 1;
  show(lane(vehicle({ inspection_id: "v2", scan: scan({ scan_id: "s2" }) })));
  assert.equal(picture.value, null);
  await settled();
  assert.equal(picture.value, null);
  await second();
  assert.equal(picture.value.scan, "s2");
});

test("news that comes while columns are on their way is not missed", async () => {
  done = 400;
  scanned({ state: "scanning" });
  done = 600;
  columns.value = { scan: "s1", to: 600 };
  await settled();
  assert.equal(picture.value.width, 300);
});
