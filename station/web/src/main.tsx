/** The screen of one lane: starts the feed, the sound and the image, and draws what the station says. */

import "./theme/font.css";
import "./theme/tokens.css";
import "./theme/layout.css";
import "./theme/parts.css";
import "./theme/panels.css";
import "./theme/order.css";
import "./theme/closures.css";
import "./theme/trend.css";
import { render } from "preact";
import { effect } from "@preact/signals";
import { start } from "./api/feed";
import { AlarmBands } from "./parts/AlarmBand";
import { Band } from "./parts/Band";
import { Boundary } from "./parts/Boundary";
import { Decision, toImage } from "./parts/Decision";
import { Directive } from "./parts/Directive";
import { Header, Simulated } from "./parts/Header";
import { Menu } from "./parts/Menu";
import { Closures } from "./screens/Closures";
import { Lane } from "./screens/Lane";
import { Trend } from "./screens/Trend";
import { Viewer } from "./screens/Viewer";
import { startSound } from "./sound/sound";
import { language, setLanguage, t } from "./state/i18n";
import { followImage } from "./state/image";
import { followDay } from "./state/trend";
import { acknowledge, hold, order, releaseLock, seen, startTicking } from "./state/orders";
import { directives, first, inspection, lane, stale } from "./state/station";
import { night, view } from "./state/view";

function Content() {
  if (!lane.value) return <main class="loading"><p role="status">{t("loading")}</p></main>;
  if (view.value === "menu") return <Menu />;
  if (view.value === "trend") return <Trend />;
  if (view.value === "closures" && inspection.value) return <Closures key={inspection.value.inspection_id} />;
  return view.value === "viewer" && inspection.value ? <Viewer /> : <Lane />;
}

function App() {
  return (
    <>
      <Simulated />
      <Boundary><Header /></Boundary>
      <div class="bands">
        <Band />
        <AlarmBands />
        {!first.value && <Boundary><Directive /></Boundary>}
      </div>
      <Boundary><Content /></Boundary>
      <Decision />
    </>
  );
}

/** H, S, R and A; the keys that let something pass work on the lane's own screen only. */
function key(event: KeyboardEvent): void {
  const typing = event.target instanceof HTMLElement && event.target.matches("input, textarea, select, [contenteditable]");
  if (event.repeat || typing || event.ctrlKey || event.altKey || event.metaKey) return;
  const pressed = event.key.toLowerCase();
  const alarm = first.peek();
  const onLane = view.peek() === "lane";
  if (pressed === "h") void hold(seen());
  else if (pressed === "s" && onLane) void order("secondary", seen());
  else if (pressed === "r" && onLane) (releaseLock.peek() === null ? void order("release", seen()) : toImage());
  else if (pressed === "a" && alarm && alarm.state !== "ack") void acknowledge(alarm.alarm_id, seen());
  else if (pressed === "escape") view.value = "lane";
}

setLanguage(language.peek());
effect(() => {
  document.documentElement.dataset.theme = night.value ? "night" : "day";
});
effect(() => {
  document.body.classList.toggle("stale", stale.value && lane.value !== null);
  document.body.classList.toggle("ordered", directives.value.length > 0 && !first.value);
});
effect(() => {
  if (!inspection.value && (view.peek() === "viewer" || view.peek() === "closures")) view.value = "lane";
});
addEventListener("keydown", key);
addEventListener("contextmenu", (event) => event.preventDefault());
start();
startTicking();
startSound();
followImage();
followDay();
render(<App />, document.getElementById("app") as HTMLElement);
