/** The alarms of the first rank, one or two: what, how much, since when; acknowledged with one tap, on every screen. */

import type { Alarm } from "../api/types";
import { clock, code, number, t } from "../state/i18n";
import { acknowledge, dead, silence } from "../state/orders";
import { place, placeless } from "../state/spots";
import { alarms, banded, clockUs, here, inspection, lane, radiates } from "../state/station";
import { Button } from "./Button";
import { Icon } from "./Icon";
import { Photo } from "./Identity";

/** Letters of a title that still stand in full size. */
const LONG_TITLE = 22;
const numeric = (value: unknown): value is number => typeof value === "number";

export function alarmTitle(alarm: Alarm): string {
  const ratio = alarm.values.ratio;
  const name = code("alarm", alarm.code);
  // The device alarms by rules of its own, and may do so before a whole second is above the limit.
  return numeric(ratio) && ratio >= 1 ? `${name} ${t("alarm.ratio", { r: number(ratio, 1) })}` : name;
}

/** Counts and limit if it is a radiation alarm, or that it has none, or the panels. */
function measured(alarm: Alarm): string | null {
  const { counts, limit, panel } = alarm.values;
  if (numeric(counts)) return t("alarm.values", { n: number(counts), limit: numeric(limit) ? number(limit) : "–" });
  if (panel) return t("alarm.panel", { panel: String(panel) });
  return radiates(alarm) ? t("rad.contact") : null;
}

const since = (alarm: Alarm) => clock(alarm.raised_utc_us, lane.value?.time_zone ?? "UTC");

/** Counts and limit or panels, then time, then whether it ended. */
export function alarmFacts(alarm: Alarm): string {
  const ended = alarm.state === "rtn_unack" ? t("alarm.ended") : null;
  return [measured(alarm), since(alarm), ended].filter(Boolean).join(" · ");
}

/** What radiation of the vehicle in the lane says: where, how much, and how seldom chance alone does that. */
function Radiation({ alarm, rest }: { alarm: Alarm; rest: string[] }) {
  const channel = alarm.code === "neutron_alarm" ? "neutron" : "gamma";
  const reason = inspection.value?.reasons.find(({ code: each, args }) => each === alarm.code && args.device === alarm.device);
  const rare = reason?.args.one_in;
  const chance = numeric(rare) ? t("alarm.chance", { n: number(rare) }) : null;
  return (
    <>
      <p class="strong cut">{[place(channel) ?? placeless(channel), ...rest].join(" · ")}</p>
      <p class="cut">{[measured(alarm), chance].filter(Boolean).join(" · ")}</p>
    </>
  );
}

export function AlarmBands() {
  return <>{banded.value.map((alarm) => <AlarmBand key={alarm.alarm_id} alarm={alarm} />)}</>;
}

function AlarmBand({ alarm }: { alarm: Alarm }) {
  const { plate } = alarm.values; // of a vehicle that left, in its place another one may stand
  const seen = alarm.state === "ack";
  const more = alarms.value.length - banded.value.length;
  const title = alarmTitle(alarm);
  const rest = [more > 0 && t("alarm.more", { n: number(more) }), !alarm.stored && t("alarm.notstored")].filter((text) => text !== false);
  const radiation = here(alarm) && radiates(alarm);
  return (
    <section class={`alarm ${alarm.state}`} role="alert">
      {here(alarm) ? <Photo /> : <div />}
      <div>
        <div class="title">
          <span class="mark">■ P{number(alarm.priority)}</span>
          <h2 class={title.length > LONG_TITLE ? "cut long" : "cut"}>{title}</h2>
          {radiation && <span class="since">{since(alarm)}</span>}
        </div>
        {radiation ? <Radiation alarm={alarm} rest={rest} /> : (
          <>
            <p class="strong cut">
              {alarm.device ? t("alarm.device", { device: alarm.device }) : (alarm.values.authority ?? alarm.values.directive ?? alarm.values.consumer ?? alarm.values.blob)}
              {typeof plate === "string" && ` · ${t("alarm.left", { plate: plate || t("plate.unread") })}`}
            </p>
            <p class="cut">{alarmFacts(alarm)}{rest.map((text) => <b key={text}> · {text}</b>)}</p>
          </>
        )}
      </div>
      <Button
        locked={dead.value}
        pressed={(alarm.silenced_until_utc_us ?? 0) > clockUs.value}
        onAct={(from) => void silence(from)}
      >
        <Icon name="silence" />
        <span>{t("alarm.silence.1")}<br />{t("alarm.silence.2")}</span>
      </Button>
      <Button class="button ack" locked={seen || dead.value} onAct={(from) => void acknowledge(alarm.alarm_id, from)}>
        {t(seen ? "alarm.acked" : "alarm.ack")}
      </Button>
    </section>
  );
}
