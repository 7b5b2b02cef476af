/** Seals and placards at the vehicle, typed or tapped beside what was declared. Bands and decision bar stay. */

import { useState } from "preact/hooks";
import { Button } from "../parts/Button";
import { code, t } from "../state/i18n";
import { observe, observing } from "../state/orders";
import { inspection, stale } from "../state/station";
import { view } from "../state/view";
import {
  asPlacard, declaredPlacards, declaredSeals, type Placard, placardName, type SealState, type Sealed, STATES,
} from "../state/closures";

const KEYS = "1234567890QWERTYUIOPASDFGHJKL.ZXCVBNM-".split("");
const LONGEST = 20;

const back = () => {
  view.value = "lane";
};

export function Closures() {
  const vehicle = inspection.value;
  /** A number on its way, or null: then the lists have the room. */
  const [typed, setTyped] = useState<string | null>(null);
  const [seals, setSeals] = useState<Sealed[]>(declaredSeals(vehicle));
  const [placards, setPlacards] = useState<Placard[]>(declaredPlacards(vehicle));
  const open = seals.filter((seal) => seal.state === null).length;
  const busy = observing.value || stale.value;
  const mark = (no: string, state: SealState) =>
    setSeals(seals.map((seal) => (seal.no === no ? { no, state } : seal)));
  const there = (name: string, seen: boolean) =>
    setPlacards(placards.map((placard) => (placardName(placard) === name ? { ...placard, seen } : placard)));
  if (typed !== null) {
    const said = asPlacard(typed);
    const done = () => setTyped(null);
    return (
      <main class="content keypad">
        <output class="panel" aria-live="polite">{typed || t("closures.type")}</output>
        <div class="keys">
          {KEYS.map((key) => (
            <Button key={key} class="button key" onAct={() => setTyped((typed + key).slice(0, LONGEST))}>{key}</Button>
          ))}
          <Button class="button key" label={t("closures.delete")} onAct={() => setTyped(typed.slice(0, -1))}>⌫</Button>
        </div>
        <div class="three">
          <Button
            locked={!/[0-9A-Z]/.test(typed) || seals.some((seal) => seal.no === typed)}
            onAct={() => {
              setSeals([...seals, { no: typed, state: "intact" }]);
              done();
            }}
          >
            {t("closures.add.seal")}
          </Button>
          <Button
            locked={said === null || placards.some((each) => placardName(each) === placardName(said))}
            onAct={() => {
              if (said) setPlacards([...placards, said]);
              done();
            }}
          >
            {t("closures.add.placard")}
          </Button>
          <Button onAct={done}>{t("closures.cancel")}</Button>
        </div>
      </main>
    );
  }
  return (
    <main class="content closures">
      <section class="panel" tabIndex={0} aria-label={t("closures.seals")}>
        <h2>{t("closures.seals")}</h2>
        <ul class="old">
          {seals.map(({ no, state }) => (
            <li key={no}>
              <span class="cut strong">{no}</span>
              <span class="three" role="group" aria-label={no}>
                {STATES.map((each) => (
                  <Button key={each} pressed={state === each} onAct={() => mark(no, each)}>
                    {code("closure_state", each)}
                  </Button>
                ))}
              </span>
            </li>
          ))}
        </ul>
        {seals.length === 0 && <p class="muted">{t("closures.seals.none")}</p>}
        <Button
          locked={open > 0 || busy}
          onAct={(from) => void observe({ seals: seals.map(({ no, state }) => ({ no, state: state ?? "missing" })) }, from)}
        >
          {open > 0 ? t("closures.open", { n: open }) : t("closures.record.seals")}
        </Button>
      </section>
      <section class="panel" tabIndex={0} aria-label={t("closures.placards")}>
        <h2>{t("closures.placards")}</h2>
        <ul class="old">
          {placards.map((placard) => {
            const name = placardName(placard);
            return (
              <li key={name}>
                <span class="cut strong">{name}</span>
                <span class="three" role="group" aria-label={name}>
                  <Button pressed={placard.seen === true} onAct={() => there(name, true)}>{t("closures.there")}</Button>
                  <Button pressed={placard.seen === false} onAct={() => there(name, false)}>{t("closures.absent")}</Button>
                </span>
              </li>
            );
          })}
        </ul>
        {placards.length === 0 && <p class="muted">{t("closures.placards.none")}</p>}
        <Button
          locked={placards.some((placard) => placard.seen === null) || busy}
          onAct={(from) => void observe({
            placards: placards.filter((placard) => placard.seen).map(({ un, class: hazard }) => ({ un, class: hazard })),
          }, from)}
        >
          {t("closures.record.placards")}
        </Button>
      </section>
      <Button onAct={() => setTyped("")}>{t("closures.another")}</Button>
      <Button onAct={back}>{t("viewer.back")}</Button>
    </main>
  );
}
