/** Pages of what the centre orders: every word on one of them, none with more than it has room for. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { flowFits, pagesOf, tilesFit } from "../src/state/instructions";

const order = (other = {}) => ({
  directive_id: "H-1", version: 1, discreet: false, authority: "Customs", notes: { en: "Papers missing.", es: "" },
  steps: ["Keep it.", "Call 41."], ...other,
});
const texts = (pages) => pages.map(({ items }) => items.map(({ text }) => text));

test("what fits stands on one page: the note, in the other language if need be, then the steps by number", () => {
  const [page, ...more] = pagesOf([order()], "es", flowFits);
  assert.equal(more.length, 0);
  assert.deepEqual(page.items, [{ number: 0, text: "Papers missing." }, { number: 1, text: "Keep it." }, { number: 2, text: "Call 41." }]);
});

test("a discreet one shows its steps alone, and one without words still has its page", () => {
  assert.deepEqual(texts(pagesOf([order({ discreet: true, authority: "A".repeat(64) })], "en", flowFits)), [["Keep it.", "Call 41."]]);
  assert.deepEqual(texts(pagesOf([order({ notes: { en: "", es: "" }, steps: [] })], "en", flowFits)), [[]]);
});

test("however long, no word is lost and no page has more than it has room for", () => {
  const long = order({ authority: "Office ".repeat(9), notes: { en: "word ".repeat(40), es: "" }, steps: Array(64).fill("step ".repeat(40)) });
  for (const fits of [flowFits, tilesFit]) {
    const pages = pagesOf([long, order()], "en", fits);
    const said = texts(pages).flat().join(" ");
    assert.equal(said.match(/word/g).length, 40);
    assert.equal(said.match(/step/g).length, 64 * 40);
    assert.equal(said.match(/Office/g).length, 9);
    assert.ok(pages.every(({ items }) => fits(items)));
    assert.equal(pages.at(-1).order.authority, "Customs");
  }
});

test("three short steps stand in tiles beside each other, long ones alone", () => {
  assert.equal(pagesOf([order()], "en", tilesFit).length, 1);
  assert.equal(pagesOf([order({ steps: ["x ".repeat(60), "y ".repeat(60)] })], "en", tilesFit).length, 3);
});
