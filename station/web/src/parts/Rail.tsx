/** All the words of the radiograph, beside it: nothing covers a pixel of the image. */

import type { Scan } from "../api/types";
import { code, number, t } from "../state/i18n";
import { inspection, now } from "../state/station";
import { axis, lengthM, scannedM } from "../state/view";
import { Icon } from "./Icon";
import { shownWindow } from "./Radiograph";

const BAR_M = 2;

function scanText(scan: Scan | null): string {
  if (!scan) return t(inspection.value?.coverage.scanner.state === "waiting" ? "scan.waiting" : "scan.none");
  if (scan.state === "scanning") return t("scan.running", { m: number(scannedM.value, 1) });
  if (scan.state === "complete") return t("scan.complete");
  return t("scan.incomplete", { reason: scan.cause ? code("why", scan.cause) : "–" });
}

/** State, length and doubts of the scan, line by line. */
function Words() {
  const scan = inspection.value?.scan ?? null;
  return (
    <>
      <div class="strong cut">
        <span class={scan?.state === "incomplete" ? "badge" : ""}>{scanText(scan)}</span>
      </div>
      {scan && scan.state !== "scanning" && (
        <div class="muted old"><span>{t("scan.length", { m: number(lengthM.value, 1) })}</span></div>
      )}
      {scan && scan.calibration !== "measured" && <div class="muted cut">{t("scan.provisional")}</div>}
      {scan && scan.starved_m2 > 0 && <div><span class="badge">{t("scan.starved", { a: number(scan.starved_m2, 2) })}</span></div>}
    </>
  );
}

export function Rail() {
  return (
    <div class="rail">
      <div class="travel"><Icon name="travel" size={2.2} />{t("scan.travel")}</div>
      <Words />
      <div class="scale">
        <span class="length" style={{ width: `${BAR_M * axis.value.scale}px` }} />
        {t("scan.scale", { m: number(BAR_M) })}
        <Icon name="open" size={2.8} />
      </div>
    </div>
  );
}

/** The same in one line above the large image, with the window that is drawn. */
export function RailLine() {
  const [lo, hi] = shownWindow.value;
  return (
    <div class="rail line">
      <Words />
      <div class="muted">{t("viewer.window", { lo: number(lo), hi: number(hi) })}</div>
    </div>
  );
}

/** The number of a strip: now while measuring, the highest second afterwards. */
export function Value({ of }: { of: "gamma" | "neutron" }) {
  const channel = inspection.value?.radiation[of];
  const running = !channel || channel.state === "measuring" || channel.state === "waiting";
  const cps = running ? now.value[`${of}_cps`] : channel.max_cps;
  const limit = channel?.limit_cps;
  const name = of === "gamma" ? (running ? "gamma.now" : "gamma.max") : running ? "neutron.now" : "neutron.max";
  return (
    <div class="value">
      <div>
        <div class="strong">{t(name)}</div>
        <div class="muted">
          {channel?.state === "failed" ? t("rad.failed") : limit == null ? t("rad.nolimit") : t("rad.limit", { n: number(limit) })}
        </div>
      </div>
      <div class={channel?.alarm ? "number old badge red" : "number old"}><span>{cps == null ? "–" : number(cps)}</span></div>
    </div>
  );
}
