/** The decision bar: the same rectangles on every screen, Hold left, Release right, Hold always free. */

import type { ComponentChildren } from "preact";
import { clock, code, number, t } from "../state/i18n";
import {
  dead, hold, holding, note, officerInS, order, readImage, readLock, releaseLock, releaseStands, secondaryFree,
  unconfirmed,
} from "../state/orders";
import { alarms, clockUs, inspection, lane, stale } from "../state/station";
import { view } from "../state/view";
import { Button } from "./Button";
import { Icon } from "./Icon";

/** Leads to the image if Release waits for it. */
export function toImage(): void {
  if (releaseLock.peek() === "read_image" && !dead.peek()) view.value = "viewer";
}

function ReadImage() {
  const read = inspection.value?.image_read ?? false;
  const lock = readLock.value;
  const free = !read && lock === null;
  return (
    <Button class="button read" locked={!free} onAct={(from) => void readImage(from)}>
      <Icon name={read ? "done" : free ? "eye" : "lock"} size={3.2} />
      <span>{t(read ? "viewer.wasread" : "viewer.read")}{!read && lock !== null && <small>{code("lock", lock)}</small>}</span>
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
  if (unconfirmed.value && !holding.value) return <Lines strong={t("slot.pending.1")} last={t("slot.pending.2")} />;
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

/** What became of this vehicle, where Release stood. */
function Receipt() {
  const vehicle = inspection.value;
  if (!vehicle) return <div />;
  const { decision, state } = vehicle;
  const at = decision && clock(decision.at_utc_us, lane.value?.time_zone ?? "UTC");
  return (
    <div class="receipt" role="status">
      <Icon name={state === "aborted" ? "not_fitted" : "done"} size={3.6} />
      <div>
        <div class="strong">{code("verdict", decision?.verdict ?? state)}</div>
        {decision && <div class="muted">{t("slot.recorded", { time: at ?? "", officer: decision.officer })}</div>}
      </div>
    </div>
  );
}

function Release() {
  const lock = releaseLock.value;
  return (
    <Button class="button release" locked={lock !== null} onAct={(from) => void order("release", from)} onLocked={toImage}>
      <Icon name={lock === null ? "release" : "lock"} size={3.6} />
      <span>{t("release")}{lock !== null && <small>{code("lock", lock)}</small>}</span>
    </Button>
  );
}

export function Decision() {
  const free = secondaryFree.value;
  return (
    <footer class="bar">
      <Button class="button hold" pressed={holding.value} onAct={(from) => void hold(from)}>
        <Icon name="hold" size={3.2} />
        {t("hold")}
      </Button>
      <Button class="button secondary" locked={!free} onAct={(from) => void order("secondary", from)}>
        <Icon name={free ? "secondary" : "lock"} size={3.2} />
        {t("secondary")}
      </Button>
      {view.value === "viewer" && !note.value ? <ReadImage /> : <div class="slot" role="status"><Slot /></div>}
      {releaseStands.value ? <Release /> : <Receipt />}
    </footer>
  );
}
