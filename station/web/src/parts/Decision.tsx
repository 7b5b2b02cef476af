/** The decision bar: the same rectangles on every screen, Hold left, Release right, Hold always free. */

import type { ComponentChildren } from "preact";
import { effect } from "@preact/signals";
import { clock, code, number, t } from "../state/i18n";
import {
  dead, note, officerInS, order, pending, readImage, releaseLock, secondaryFree, type Seen, unconfirmed,
} from "../state/orders";
import { alarms, clockUs, inspection, lane, stale } from "../state/station";
import { picture } from "../state/image";
import { view } from "../state/view";
import { Button } from "./Button";
import { Icon } from "./Icon";

export function hold(from: Seen): void {
  if (pending.peek() !== "hold") void order("hold", from);
}

export function release(from: Seen): void {
  void order("release", from);
}

/** Leads to the image if Release waits for it. */
export function toImage(): void {
  const first = inspection.peek()?.release.locks[0]?.code;
  if (first === "read_image" && !stale.peek() && !dead.peek()) view.value = "viewer";
}

let openedAt = 0;
/** Reading time counts from when this vehicle's image came up. */
effect(() => {
  void inspection.value?.inspection_id;
  if (view.value === "viewer") openedAt = performance.now();
});

function ReadImage() {
  const read = inspection.value?.image_read ?? false;
  const none = read || stale.value || !inspection.value?.scan;
  return (
    <Button class={none ? "button" : "button read"} locked={none} onAct={(from) => void readImage(from, performance.now() - openedAt, picture.peek() ? 1 : 0)}>
      <Icon name={read ? "done" : "eye"} size={3.2} />
      {t(read ? "viewer.wasread" : "viewer.read")}
    </Button>
  );
}

function Lines({ first, strong, last }: { first?: ComponentChildren; strong: ComponentChildren; last?: ComponentChildren }) {
  return (
    <>
      {first && <div class="muted">{first}</div>}
      <div class="strong">{strong}</div>
      {last && <div class="muted">{last}</div>}
    </>
  );
}

function Slot() {
  const last = lane.value?.last;
  const sounding = alarms.value.find((alarm) => alarm.priority === 1 && alarm.state === "unack");
  const officer = officerInS.value;
  if (note.value) return <Lines strong={note.value} />;
  if (unconfirmed.value && pending.value !== "hold") return <Lines strong={t("slot.pending")} />;
  if (stale.value || unconfirmed.value) return <Lines strong={t("slot.hold.1")} last={t("slot.hold.2")} />;
  if (sounding) {
    const s = number(Math.max(0, Math.round((clockUs.value - sounding.raised_utc_us) / 1e6)));
    return <Lines first={t("slot.alarm.1")} strong={t("slot.alarm.2")} last={t("slot.alarm.3", { s })} />;
  }
  if (officer !== null) return <Lines strong={t("slot.officer.1", { s: number(officer) })} last={t("slot.officer.2")} />;
  if (!last) return <Lines first={t("slot.last")} strong={t("slot.none")} />;
  const at = clock(last.at_utc_us, lane.value?.time_zone ?? "UTC");
  return <Lines first={t("slot.last")} strong={`${code("verdict", last.verdict)} ${at}`} last={last.plate} />;
}

export function Decision() {
  const lock = releaseLock.value;
  const free = secondaryFree.value;
  return (
    <footer class="bar">
      <Button class="button hold" pressed={pending.value === "hold"} onAct={hold}>
        <Icon name="hold" size={3.2} />
        {t("hold")}
      </Button>
      <Button class="button secondary" locked={!free} onAct={(from) => void order("secondary", from)}>
        <Icon name={free ? "secondary" : "lock"} size={3.2} />
        {t("secondary")}
      </Button>
      {view.value === "viewer" && !note.value ? <ReadImage /> : <div class="slot" role="status"><Slot /></div>}
      <Button class="button release" locked={lock !== null} onAct={release} onLocked={toImage}>
        <Icon name={lock === null ? "release" : "lock"} size={3.6} />
        <span>{t("release")}{lock !== null && <small>{lock}</small>}</span>
      </Button>
    </footer>
  );
}
