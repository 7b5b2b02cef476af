/** Night, sound test, alarms of lower rank, and the devices with their states. */

import { useState } from "preact/hooks";
import type { Alarm } from "../api/types";
import { soundTest } from "../sound/sound";
import { code, t } from "../state/i18n";
import { acknowledge, clearTamper, dead } from "../state/orders";
import { alarms, inspection, lane, stale } from "../state/station";
import { night, nightBarred, toggleNight, view } from "../state/view";
import { alarmFacts, alarmTitle } from "./AlarmBand";
import { Button } from "./Button";

/** For a portal that never said that its contact is closed again: a technician looks, and says so in two taps. */
function Contact({ alarm }: { alarm: Alarm }) {
  const [asked, ask] = useState(false);
  const portal = lane.value?.devices.find((device) => device.name === alarm.device && device.role === "PortalMonitor");
  if (alarm.code !== "tamper" || alarm.state === "rtn_unack" || !portal) return null;
  return (
    <Button
      locked={dead.value}
      onAct={(from) => {
        if (asked) void clearTamper(portal.name, from);
        ask(!asked);
      }}
    >
      {t(asked ? "menu.contact.sure" : "menu.contact")}
    </Button>
  );
}

export function Menu() {
  return (
    <main class="content menu">
      <div class="choices">
        <Button
          onAct={() => {
            view.value = "lane";
          }}
        >
          {t("menu.close")}
        </Button>
        <Button locked={nightBarred.value} onAct={toggleNight}>
          {t(nightBarred.value ? "menu.night.barred" : night.value ? "menu.day" : "menu.night")}
        </Button>
        <Button
          locked={!inspection.value}
          onAct={() => {
            view.value = "closures";
          }}
        >
          {t("menu.closures")}
        </Button>
        <Button onAct={soundTest}>{t("menu.sound")}</Button>
        <Button
          onAct={() => {
            view.value = "trend";
          }}
        >
          {t("menu.portal")}
        </Button>
      </div>
      <section class="panel" tabIndex={0} aria-label={t("menu.devices")}>
        <h2>{t("menu.devices")}</h2>
        <ul class="old">
          {lane.value?.devices.map((device) => (
            <li key={device.name}>
              <span class="cut strong">{device.name}</span>
              <span class={device.state === "online" ? "muted" : "badge"}>{code("device", device.state)}</span>
            </li>
          ))}
        </ul>
      </section>
      <section class="panel" tabIndex={0} aria-label={t("menu.alarms")}>
        <h2>{t("menu.alarms")}</h2>
        <ul class="old">
          {alarms.value.map((alarm) => (
            <li key={alarm.alarm_id}>
              <div>
                <div class="strong">{alarmTitle(alarm)}</div>
                <div class="muted">{alarm.device} {alarmFacts(alarm)}</div>
              </div>
              <Contact alarm={alarm} />
              <Button locked={alarm.state === "ack" || dead.value} onAct={(from) => void acknowledge(alarm.alarm_id, from)}>
                {t(alarm.state === "ack" ? "alarm.acked" : "alarm.ack")}
              </Button>
            </li>
          ))}
        </ul>
        {alarms.value.length === 0 && <p class="muted">{t(stale.value ? "menu.alarms.unknown" : "menu.alarms.none")}</p>}
      </section>
    </main>
  );
}
