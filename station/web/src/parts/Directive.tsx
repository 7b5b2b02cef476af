/** What the centre orders for this vehicle: who asks, by what it was recognised, what to do; received with one tap.
 *
 *  One that must warn nobody shows a code word and its steps, in grey. */

import { useState } from "preact/hooks";
import type { Directive as Order } from "../api/types";
import { code, language, number, t } from "../state/i18n";
import { type Item, type Page, flowFits, named, pagesOf, tilesFit } from "../state/instructions";
import { dead, receive, receiving, tick } from "../state/orders";
import { clockUs, directives, stale, stationUs } from "../state/station";
import { Button } from "./Button";
import { Icon } from "./Icon";

const BADGE: Partial<Record<Order["action"], string>> = { hold: "badge red", secondary: "badge", scan: "badge" };

export function orderTitle({ action, discreet }: Order): string {
  return discreet ? t("order.code_word") : code("order", action);
}

/** By what the vehicle was recognised, and how sure that is: "plate, probable". */
export function orderKeys({ keys, read }: Order): string {
  return keys.map((key) => (key === "plate" ? `${code("key", key)}, ${code("read", read)}` : code("key", key))).join(" · ");
}

/** Seconds that are left, or that there are none. */
function Left({ order }: { order: Order }) {
  void tick.value;
  if (order.missed) return <small>{t("order.missed")}</small>;
  const s = clockUs.value ? Math.max(0, Math.ceil((order.due_utc_us - stationUs()) / 1e6)) : null;
  return <small>{t("order.left", { s: s === null ? "–" : number(s) })}</small>;
}

function Answer({ order }: { order: Order }) {
  if (order.officer !== null) {
    return <div class="answered" role="status"><Icon name="done" /><span>{t("order.received")}<small>{order.officer}</small></span></div>;
  }
  return (
    <Button class="button answer" locked={stale.value || dead.value || receiving.value} onAct={(from) => void receive(order, from)}>
      <span>{t("order.receive")}<Left order={order} /></span>
    </Button>
  );
}

function Words({ items }: { items: Item[] }) {
  return (
    <ul class="words">
      {items.map(({ number: n, text }) => (
        <li key={`${n} ${text}`} class={n ? "" : "note"}>{n > 0 && <b>{number(n)}</b>}<span>{text}</span></li>
      ))}
    </ul>
  );
}

function Pages({ pages, tiles }: { pages: Page[]; tiles: boolean }) {
  const [at, turn] = useState(0);
  const page = pages[at % pages.length];
  if (!page) return null;
  const { order, items } = page;
  const place = `${number((at % pages.length) + 1)}/${number(pages.length)}`;
  const { action, authority, discreet } = order;
  return (
    <section class={`order panel ${tiles ? "tiles" : "flow"}`} aria-label={orderTitle(order)}>
      {/* The words alone are read out, and not again each second. */}
      <div class="told" role="status" aria-live={discreet ? "polite" : "assertive"}>
        <div class="who">
          <div class="title"><span class={discreet ? "" : BADGE[action]}>{orderTitle(order)}</span></div>
          {named(order) && <div class="strong">{authority}</div>}
          {!discreet && <div class="muted">{orderKeys(order)}</div>}
        </div>
        <Words items={items} />
      </div>
      {pages.length > 1 && (
        <Button class="button turn" label={t("order.turn", { place })} onAct={() => turn((at + 1) % pages.length)}>{place}</Button>
      )}
      <Answer order={order} />
    </section>
  );
}

export function Directive({ tiles = false }: { tiles?: boolean }) {
  const orders = directives.value;
  if (orders.length === 0) return null;
  // What is shown first changes when it was received: the pages begin anew.
  const now = orders.map((order) => `${order.directive_id} ${order.version}`).join();
  return <Pages key={now} pages={pagesOf(orders, language.value, tiles ? tilesFit : flowFits)} tiles={tiles} />;
}
