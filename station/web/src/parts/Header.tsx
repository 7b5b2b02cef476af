/** Where, how, who and when; and how old the data is. */

import { audio } from "../sound/sound";
import { clock, code, language, number, setLanguage, t } from "../state/i18n";
import { ageS, alarms, clockUs, lane, LATE_S, stale } from "../state/station";
import { view } from "../state/view";
import { Button } from "./Button";
import { Icon } from "./Icon";

export function Simulated() {
  if (!lane.value?.simulated) return <div />;
  return <section class="sim" aria-label={t("sim.title")}><p><b>{t("sim.title")}</b>{t("sim.text")}</p></section>;
}

function Mode() {
  const mode = lane.value?.mode ?? "open";
  if (mode !== "open") return <span class="badge">{code("mode", mode)}</span>;
  if (audio.value !== "running") return <span class="badge">{t("sound.none")}</span>;
  return <span class="muted">{t("mode.open")}</span>;
}

function Age() {
  const s = Number.isFinite(ageS.value) ? number(ageS.value, ageS.value < 10 ? 1 : 0) : "–";
  if (stale.value) return <span class="badge">{t("data.old", { s })}</span>;
  return <span class={ageS.value > LATE_S ? "strong" : "muted"}>{t("data.age", { s })}</span>;
}

export function Header() {
  const now = lane.value;
  const low = alarms.value.filter((alarm) => alarm.priority > 1).length;
  const other = language.value === "es" ? "en" : "es";
  const place = `${t(now?.direction === "out" ? "head.primary.out" : "head.primary.in")} · ${now?.site ?? ""}`;
  return (
    <header class="header">
      <h1>{now?.name}</h1>
      <div class="place">
        <div class="strong cut">{place}</div>
        <div class="cut"><Mode /></div>
      </div>
      <div>
        <div class="strong">{code("centre", stale.value ? "unknown" : (now?.centre.state ?? "unknown"))}</div>
        <div class="muted">
          {stale.value ? t("centre.not_reported") : t("centre.waiting", { n: number(now?.centre.waiting ?? 0) })}
        </div>
      </div>
      <div>
        <div class="strong">{now?.officer}</div>
        <div class="muted">{t("officer")}</div>
      </div>
      <div class="time">
        <b>{now && clockUs.value ? clock(clockUs.value, now.time_zone) : "–"}</b>
        <Age />
      </div>
      <div class="buttons">
        <Button onAct={() => setLanguage(other)}><span lang={other}>{t("lang.other")}</span></Button>
        <Button
          pressed={view.value === "menu"}
          onAct={() => {
            view.value = view.peek() === "menu" ? "lane" : "menu";
          }}
        >
          <Icon name="menu" />
          {t("menu")}
          {low > 0 && <span class="badge">{`▲ ${number(low)}`}</span>}
        </Button>
      </div>
    </header>
  );
}
