/** No word from the station: everything on the screen is old. */

import { number, t } from "../state/i18n";
import { ageS, lane, stale, tries } from "../state/station";
import { Icon } from "./Icon";

export function Band() {
  if (!stale.value || !lane.value) return null;
  const old = ageS.value;
  return (
    <section class="band" aria-label={t("lock.stale")}>
      <Icon name="warning" size={3.2} />
      <b>{t("stale.title", { s: Number.isFinite(old) ? number(Math.floor(old)) : "–" })}</b>
      <span>{tries.value > 0 && t("stale.try", { n: number(tries.value) })}</span>
      <span class="unseen" role="alert">{t("lock.stale")}</span>
    </section>
  );
}
