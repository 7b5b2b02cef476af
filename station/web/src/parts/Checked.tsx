/** What was checked, and why not; and whether the devices live. */

import type { Check, CheckName } from "../api/types";
import { code, number, t } from "../state/i18n";
import { inspection, lane, stale } from "../state/station";
import { lengthM, scannedM } from "../state/view";
import { Icon } from "./Icon";

const SHOWN: readonly CheckName[] = ["rpm", "scanner", "lpr", "ocr"];
const ROLES: Partial<Record<CheckName, string>> = { rpm: "PortalMonitor", scanner: "LineScanner", lpr: "Camera" };

/** State of the devices of a check that still waits, if none of them can measure now. */
function lostState(name: CheckName): string | null {
  const devices = lane.value?.devices.filter((device) => device.role === ROLES[name]) ?? [];
  const up = devices.some((device) => device.state === "online" || device.state === "degraded");
  return up ? null : (devices[0]?.state ?? null);
}

function checkText(name: CheckName, check: Check): string {
  const vehicle = inspection.value;
  const lost = check.state === "waiting" ? lostState(name) : null;
  if (lost) return code("device", lost);
  if (check.state === "failed" && check.reason) return code("why", check.reason);
  if (name === "scanner" && vehicle?.scan) {
    if (check.state === "done") return `${number(lengthM.value, 1)} m`;
    if (check.state === "waiting" && scannedM.value > 0) return `${number(scannedM.value, 1)} m`;
  }
  if (name === "rpm" && check.state === "waiting" && vehicle?.radiation.gamma.state === "measuring") {
    return t("state.measuring");
  }
  if (check.state === "done" && (name === "lpr" || name === "ocr")) return t("state.read");
  return code("state", check.state);
}

function devicesText(): string {
  const devices = lane.value?.devices ?? [];
  if (stale.value) return t("devices.unknown");
  const up = devices.filter((device) => device.state === "online").length;
  return t("devices.ok", { up: number(up), n: number(devices.length) });
}

function Devices() {
  const bad = !stale.value && lane.value?.devices.some((device) => device.required && device.state !== "online");
  return <div class={bad ? "badge" : "old"}><span>{devicesText()}</span></div>;
}

export function Checked() {
  const vehicle = inspection.value;
  return (
    <section class="checked panel">
      <h2 class="muted strong">{t("checked.title")}</h2>
      <ul class="old">
        {SHOWN.map((name) => {
          const check = vehicle?.coverage[name];
          const bad = check?.state === "failed" || check?.state === "bypassed"
            || (check?.state === "waiting" && lostState(name) !== null);
          return (
            <li key={name}>
              <Icon name={check?.state ?? "not_fitted"} size={1.8} />
              <span class="strong">{code("check", name)}</span>
              <span class={`cut ${bad ? "badge" : "muted"}`}>{vehicle && check ? checkText(name, check) : "–"}</span>
            </li>
          );
        })}
      </ul>
      <div class="devices"><span class="muted strong">{t("devices")}</span><Devices /></div>
    </section>
  );
}

/** The same beside an alarm, where there is less room. */
export function Brief({ plate }: { plate: string }) {
  const vehicle = inspection.value;
  return (
    <section class="brief panel">
      <div class="cut plate">{plate}</div>
      <div class="cut strong">{vehicle?.identity.container?.text ?? t("container.none")}</div>
      <ul class="old">
        {SHOWN.map((name) => (
          <li key={name}>
            <Icon name={vehicle?.coverage[name].state ?? "not_fitted"} size={1.8} />
            <span class={vehicle?.coverage[name].state === "failed" ? "badge" : ""}>{code("check", name)}</span>
          </li>
        ))}
      </ul>
      <div class="state"><span class="muted">{t("devices")}</span> <Devices /></div>
    </section>
  );
}
