/** What the centre orders for this vehicle, cut into pages that fit: a glove turns them, nothing is cut off. */

import type { Directive } from "../api/types";

/** The note (number 0) or one step. */
export interface Item { number: number; text: string }
export interface Page { order: Directive; items: Item[] }
export type Fits = (items: Item[]) => boolean;

const signs = (items: Item[]) => items.reduce((sum, { text }) => sum + text.length + 4, 0);

/** Signs of a line of text beside the button, at the size of the screen's text, with what wrapping wastes. */
const LINE = 56;
/** Three lines below each other. */
export const flowFits: Fits = (items) => signs(items) <= 3 * LINE;
/** Signs of four lines in each of one, two or three tiles beside each other. */
const TILES = [205, 98, 58];
export const tilesFit: Fits = (items) => items.every(({ text }) => text.length <= (TILES[items.length - 1] ?? 0));
/** Signs of a name that has room under the title; a longer one stands with the note. */
const NAME = 26;
export const named = ({ authority, discreet }: Directive) => !discreet && authority.length <= NAME;

/** A text in parts of which each fits alone, parted between words. */
function parts({ number, text }: Item, fits: Fits): Item[] {
  const found: Item[] = [];
  for (const word of text.split(" ")) {
    const last = found.at(-1);
    const longer = last && { number, text: `${last.text} ${word}` };
    if (longer && fits([longer])) found[found.length - 1] = longer;
    else found.push({ number, text: word });
  }
  return found;
}

/** Of a discreet one the steps alone. The note in the other language is better than none. */
function items(order: Directive, language: "en" | "es"): Item[] {
  const { authority, discreet, notes, steps } = order;
  const words = notes[language] || notes[language === "en" ? "es" : "en"];
  const note = discreet ? "" : named(order) ? words : `${authority}. ${words}`;
  return [note, ...steps].map((text, number) => ({ number, text: text.trim() })).filter(({ text }) => text);
}

/** All pages of all orders, in their order; an order without words has one of its own. */
export function pagesOf(orders: readonly Directive[], language: "en" | "es", fits: Fits): Page[] {
  return orders.flatMap((order) => {
    const pages: Item[][] = [];
    for (const item of items(order, language).flatMap((each) => parts(each, fits))) {
      const last = pages.at(-1);
      if (last && fits([...last, item])) last.push(item);
      else pages.push([item]);
    }
    return (pages.length ? pages : [[]]).map((page) => ({ order, items: page }));
  });
}
