/** The advice and its first reasons; never the last one when the station is silent. */

import type { Reason } from "../api/types";
import { code, number, t } from "../state/i18n";
import { banded, first, here, inspection, radiates, stale } from "../state/station";
import { Icon, type IconName } from "./Icon";

const REASONS = 3;
/** Beside an alarm the panel is narrow and each reason may take two lines. */
const ALARM_REASONS = 2;

/** An order that must warn nobody: whoever looks through the window reads a code word, in grey. */
const quiet = (reason?: Reason) => reason?.code === "directive_hit" && reason.args.discreet === true;

/** Arguments whose values are codes, and their words; all others are text. */
const WORDS: Record<string, (text: string) => string> = {
  reason: (text) => code("why", text),
  lack: (text) => code("lack", text),
  why: (text) => code("difference", text),
  outcome: (text) => code("outcome", text),
  channel: (text) => code("channel", text),
  goods: (text) => code("norm", text),
};

function reasonText(reason: Reason): string {
  if (quiet(reason)) return t("order.code_word");
  const values: Record<string, string | number> = {};
  for (const [name, value] of Object.entries(reason.args)) {
    const text = String(value ?? (name === "reason" ? "waiting" : "–"));
    values[name] = WORDS[name]?.(text) ?? text;
  }
  const rare = reason.args.one_in;
  const text = code("reason", reason.code, values);
  return typeof rare === "number" ? `${text}, ${t("alarm.chance", { n: number(rare) })}` : text;
}

/** Whether the band of an alarm says it already, with more numbers. */
const banding = (reason: Reason) => banded.value.some((alarm) => radiates(alarm) && here(alarm) && alarm.code === reason.code);

interface Advice {
  level: string; icon: IconName | null; red: boolean; amber: boolean; lines: string[];
}

function advice(): Advice {
  const vehicle = inspection.value;
  const plain = { icon: null, red: false, amber: false };
  if (stale.value) {
    const lines = first.value ? [t("rec.stale.1"), t("rec.stale.3")] : [t("rec.stale.1"), t("rec.stale.2"), t("rec.stale.3")];
    return { ...plain, level: t("level.unknown"), icon: "not_fitted", lines };
  }
  if (!vehicle) return { ...plain, level: t("lock.no_vehicle"), lines: [] };
  if (vehicle.level === null) {
    const line = `${t("rec.measuring.1")} ${t("rec.measuring.2")}`;
    return { ...plain, level: t("level.measuring"), icon: "waiting", lines: [line] };
  }
  const clear = vehicle.level === "clear";
  const read = vehicle.level === "review_image" && vehicle.image_read;
  const grey = quiet(vehicle.reasons[0]);
  const red = !grey && (vehicle.level === "hold" || vehicle.level === "emergency");
  // The first instruction stands for all: each has its page in the order's own place.
  const instructed = vehicle.reasons.findIndex((reason) => reason.code === "directive_hit");
  const other = vehicle.reasons.filter((reason) => !banding(reason));
  const said = other.length > 0 ? other : vehicle.reasons;
  const reasons = said.filter((reason) => reason.code !== "directive_hit" || reason === vehicle.reasons[instructed]).map(reasonText);
  const room = first.value ? ALARM_REASONS : REASONS;
  if (vehicle.flags.includes("held")) reasons.unshift(t("rec.held"));
  const more = reasons.length - room;
  const shown = more > 0 ? [...reasons.slice(0, room - 1), t("rec.more", { n: number(more + 1) })] : reasons;
  if (read) return { ...plain, level: t("level.image_read"), icon: "done", lines: shown };
  return {
    level: code("level", vehicle.level), icon: clear ? "clear" : vehicle.level === "review_image" ? "eye" : null, red, amber: !clear && !red && !grey,
    lines: clear ? [...reasons.slice(0, -1), t("rec.clear")] : shown,
  };
}

export function Recommendation() {
  const { level, icon, red, amber, lines } = advice();
  return (
    <section class="advice panel" aria-live="polite">
      <h2 class="muted strong">{t("rec.title")}</h2>
      <div class="level">
        <span class={red ? "badge red" : amber ? "badge" : ""}>{icon && <Icon name={icon} size={3.2} />}{level}</span>
      </div>
      {lines.map((line, i) => <div key={line} class={i === 0 ? "strong" : "muted"}>{line}</div>)}
    </section>
  );
}
