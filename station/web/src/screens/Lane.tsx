/** The officer's screen: go, or why not. An alarm of the first rank takes it over. */

import { t } from "../state/i18n";
import { banded, directives, first, radiates, stale } from "../state/station";
import { Boundary } from "../parts/Boundary";
import { Brief, Checked } from "../parts/Checked";
import { Directive } from "../parts/Directive";
import { Identity, Photo, plateText } from "../parts/Identity";
import { Recommendation } from "../parts/Recommendation";
import { Scan } from "../parts/Scan";

const RAIL = 274;
const ALARM_RAIL = 250;

function Takeover() {
  // Two alarms need the room of the steps, which are for radiation if the centre orders nothing.
  const room = banded.value.length === 1;
  const ordered = room && !stale.value && directives.value.length > 0;
  const steps = room && !ordered && banded.value.every(radiates);
  return (
    <main class="content takeover">
      <Boundary><Scan rail={ALARM_RAIL} /></Boundary>
      <Boundary>
        <div class="side"><Recommendation /><Brief plate={plateText().text} /></div>
      </Boundary>
      {ordered && <Boundary><Directive tiles /></Boundary>}
      {steps && (
        <section class="steps panel">
          <h2 class="strong">{t("steps.title")}</h2>
          <p>{t("steps.none")}</p>
        </section>
      )}
    </main>
  );
}

export function Lane() {
  if (first.value) return <Takeover />;
  return (
    <main class="content lane">
      <div class="row">
        <Boundary><Photo /></Boundary>
        <Boundary><Identity /></Boundary>
        <Boundary><Recommendation /></Boundary>
        <Boundary><Checked /></Boundary>
      </div>
      <Boundary><Scan rail={RAIL} /></Boundary>
    </main>
  );
}
