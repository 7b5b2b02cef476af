/** All the words of the radiograph, beside it: nothing covers a pixel of the image. */

import type { Channel, Scan } from "../api/types";
import { code, number, t } from "../state/i18n";
import { inspection, now } from "../state/station";
import { axis, lengthM, scannedM } from "../state/view";
import { Icon } from "./Icon";
import { plateText } from "./Identity";
import { shownWindow } from "./Radiograph";

const BAR_M = 2;
/** Signs of a number that stand in full size; more of them share this width. */
const FULL_SIZE = 5;
const LONG_REM = 15;
/** What a word is as wide as, in signs of a number. */
const WORD = 8;

function scanText(scan: Scan | null): string {
  if (!scan) return t(inspection.value?.coverage.scanner.state === "waiting" ? "scan.waiting" : "scan.none");
  if (scan.state === "scanning") return t("scan.running", { m: number(scannedM.value, 1) });
  return t(scan.state === "complete" ? "scan.complete" : "scan.incomplete");
}

/** State, length and doubts of the scan, line by line. */
function Words() {
  const scan = inspection.value?.scan ?? null;
  const broken = scan?.state === "incomplete";
  return (
    <>
      <div class="strong"><span class={broken ? "badge" : ""}>{scanText(scan)}</span></div>
      {broken && <div class="muted">{scan.cause ? code("why", scan.cause) : "–"}</div>}
      {scan?.state === "complete" && (
        <div class="muted old"><span>{t("scan.length", { m: number(lengthM.value, 1) })}</span></div>
      )}
      {scan && scan.state !== "scanning" && scan.calibration !== "full" && (
        <div class={scan.calibration === "none" ? "strong" : "muted"}>{code("calibration", scan.calibration)}</div>
      )}
      {scan && scan.starved_m2 > 0 && (
        <div class="starved"><Icon name="starved" size={2} />{t("scan.starved", { a: number(scan.starved_m2, scan.starved_m2 < 10 ? 2 : 1) })}</div>
      )}
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
      <div class="strong">{plateText().text}</div>
      <Words />
      <div class="muted">{t("viewer.window", { lo: number(lo), hi: number(hi) })}</div>
    </div>
  );
}

/** What is to be known of the number: a limit, or why there is none. */
function valueText(channel?: Channel): string {
  if (channel?.state === "failed") return t(channel.max_cps == null ? "rad.failed" : "rad.part");
  if (channel?.state === "not_fitted") return t("state.not_fitted");
  if (channel?.counted === false) return t("rad.contact");
  return channel?.limit_cps == null ? t("rad.nolimit") : t("rad.limit", { n: number(channel.limit_cps) });
}

/** The number of a strip: now while measuring, the highest second afterwards. */
export function Value({ of }: { of: "gamma" | "neutron" }) {
  const channel = inspection.value?.radiation[of];
  const running = !channel || channel.state === "measuring" || channel.state === "waiting";
  const cps = running ? now.value[`${of}_cps`] : channel.max_cps;
  const alone = channel?.counted === false; // a contact that closes: an alarm, or none, and never a number
  const text = cps != null ? number(cps) : alone && channel.alarm ? t("rad.alarm") : "–";
  const signs = alone ? WORD : text.length;
  const name = of === "gamma" ? (running ? "gamma.now" : "gamma.max") : running ? "neutron.now" : "neutron.max";
  return (
    <div class="value">
      <div>
        <div class="strong">{alone ? t(of === "gamma" ? "gamma.contact" : "neutron.contact") : t(name)}</div>
        <div class="muted">{valueText(channel)}</div>
      </div>
      <div
        class={channel?.alarm ? "number old badge red" : "number old"}
        style={signs > FULL_SIZE ? { fontSize: `${LONG_REM / signs}rem` } : {}}
      >
        <span>{text}</span>
      </div>
    </div>
  );
}
