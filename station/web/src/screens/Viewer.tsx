/** The radiograph large: window, presets, inverse. Alarm band and decision bar stay. */

import { t } from "../state/i18n";
import { facts } from "../state/image";
import { view } from "../state/view";
import { Button } from "../parts/Button";
import { Icon } from "../parts/Icon";
import { inverse, ownWindow, shownWindow } from "../parts/Radiograph";
import { RailLine } from "../parts/Rail";
import { Scan } from "../parts/Scan";

const STEP = 0.1;
const FULL = 65535;

/** Moves the window by a part of its width, and widens or narrows it by a part of itself. */
function shift(by: number, wider: number): void {
  const [lo, hi] = shownWindow.peek();
  const half = Math.max(64, ((hi - lo) / 2) * (1 + wider));
  const middle = (lo + hi) / 2 + by * (hi - lo);
  ownWindow.value = [Math.round(Math.max(0, middle - half)), Math.round(Math.min(FULL, middle + half))];
}

export function Viewer() {
  const presets = facts.value?.presets ?? {};
  const preset = (name: string) => {
    const found = presets[name];
    if (found) ownWindow.value = found;
  };
  return (
    <main class="content viewer">
      <RailLine />
      <Scan rail={0} />
      <div class="tools">
        <Button
          onAct={() => {
            view.value = "lane";
          }}
        >
          <Icon name="back" />
          {t("viewer.back")}
        </Button>
        <Button
          pressed={ownWindow.value === null}
          onAct={() => {
            ownWindow.value = null;
          }}
        >
          {t("viewer.default")}
        </Button>
        <Button
          pressed={inverse.value}
          onAct={() => {
            inverse.value = !inverse.peek();
          }}
        >
          {t("viewer.inverse")}
        </Button>
        <Button locked={!presets.light} onAct={() => preset("light")}>{t("viewer.light")}</Button>
        <Button locked={!presets.dense} onAct={() => preset("dense")}>{t("viewer.dense")}</Button>
        <Button onAct={() => shift(STEP, 0)}>{t("viewer.darker")}</Button>
        <Button onAct={() => shift(-STEP, 0)}>{t("viewer.lighter")}</Button>
        <Button onAct={() => shift(0, 2 * STEP)}>{t("viewer.softer")}</Button>
        <Button onAct={() => shift(0, -2 * STEP)}>{t("viewer.harder")}</Button>
      </div>
    </main>
  );
}
