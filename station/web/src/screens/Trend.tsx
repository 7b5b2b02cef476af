/** A portal over a day (UTC): background, dispersion of each panel, and suppression, hour by hour; for the technician.
 *  A tap on a plot shows the numbers of that hour. Bands and decision bar stay. */

import { Button } from "../parts/Button";
import { colour, useDrawing } from "../parts/drawing";
import { Icon } from "../parts/Icon";
import { code, number, t } from "../state/i18n";
import { night, view } from "../state/view";
import {
  channel, day, hour, hourOf, HOURS, isToday, type Line, nextPortal, panelLines, pick, portal, portals, stats,
  suppressionLines, turn, type Values, what,
} from "../state/trend";

const DASHES = [[], [11, 5], [3, 4], [14, 4, 3, 4], [7, 3, 2, 3, 2, 3], [1, 6]];
const TICK_H = 3;
const HEADROOM = 0.08;
const LEAST_SPAN = 0.2;

const known = (values: Values) => values.filter((value) => value !== null);
const dash = (i: number) => DASHES[i % DASHES.length] as number[];

/** Least and largest value that is drawn, with some room; `marks` are always in it. */
function span(lines: Line[], marks: number[]): [number, number] {
  const all = [...lines.flatMap((line) => known(line.values)), ...marks];
  if (all.length === 0) return [0, 1];
  const [low, high] = [Math.min(...all), Math.max(...all)];
  // Without a mark to measure by, what chance does to a mean must not look like a cliff.
  const least = marks.length ? 0 : ((low + high) / 2) * LEAST_SPAN;
  const room = Math.max((high - low || 1) * HEADROOM, (least - (high - low)) / 2);
  return [low > 0 ? Math.max(0, low - room) : low, high + room];
}

function steps(context: CanvasRenderingContext2D, values: Values, x: (h: number) => number, y: (v: number) => number): void {
  context.beginPath();
  values.forEach((value, h) => {
    if (value === null) return;
    if (values[h - 1] == null) context.moveTo(x(h), y(value));
    else context.lineTo(x(h), y(value));
    context.lineTo(x(h + 1), y(value));
  });
  context.stroke();
}

function Plot({ title, lines, digits, marks }: { title: string; lines: Line[]; digits: number; marks: number[] }) {
  const at = hour.value;
  const [low, high] = span(lines, marks);
  void night.value;
  const canvas = useDrawing((context, width, height) => {
    const x = (h: number) => (h / HOURS) * width;
    const y = (v: number) => height - 2 - ((v - low) / (high - low)) * (height - 4);
    context.fillStyle = colour(context, "bg");
    context.fillRect(x(at), 0, x(1), height);
    context.fillStyle = colour(context, "hair");
    for (let h = 0; h <= HOURS; h += TICK_H) context.fillRect(Math.min(x(h), width - 1), 0, 1, height);
    context.lineWidth = 1.5;
    context.strokeStyle = colour(context, "muted");
    context.setLineDash([2, 4]);
    for (const mark of marks.filter((each) => each > low)) {
      context.strokeRect(-2, y(mark), width + 4, 0);
    }
    context.lineWidth = 2.5;
    context.strokeStyle = colour(context, "ink");
    lines.forEach((line, i) => {
      context.setLineDash(dash(i));
      steps(context, line.values, x, y);
    });
    context.setLineDash([]);
  });
  const told = lines.map(({ name, values }) => `${name} ${values[at] == null ? "–" : number(values[at], digits)}`);
  return (
    <>
      <p class="legend old">
        <span class="strong">{title}</span>
        {lines.map(({ name }, i) => (
          <span key={name} class="key">
            <svg viewBox="0 0 36 4" aria-hidden="true"><path d="M0 2h36" stroke-dasharray={dash(i).join(" ")} /></svg>
            {told[i]}
          </span>
        ))}
        <span class="muted">{lines.length > 0 && `${number(low, digits)} … ${number(high, digits)}`}</span>
      </p>
      <div
        class="plot"
        onPointerUp={(event: PointerEvent) => {
          const { left, width } = (event.currentTarget as HTMLElement).getBoundingClientRect();
          pick(Math.floor(((event.clientX - left) / width) * HOURS));
        }}
      >
        <canvas ref={canvas} role="img" aria-label={`${title}: ${told.join(", ")}`} />
      </div>
    </>
  );
}

function Status() {
  const now = hourOf(stats.value, hour.value);
  const said = { day: day.value, from: hour.value, to: hour.value + 1 };
  const words = what.value !== "known"
    ? code("trend", what.value, said)
    : now ? t("trend.at", { ...said, n: now.occupancies }) : t("trend.nohour", said);
  return (
    <p class="told" role="status">
      <span class="strong">{`${portal.value} ${code("trend.channel", channel.value)}`}</span>
      <span class="cut">{words}</span>
      {stats.value?.lacks.map((each) => <span key={each} class="muted cut">{code("lacks", each)}</span>)}
    </p>
  );
}

export function Trend() {
  const of = channel.value;
  const day = stats.value;
  const other = of === "gamma" ? "neutron" : "gamma";
  return (
    <main class="content trend">
      <div class="tools">
        <Button
          onAct={() => {
            view.value = "lane";
          }}
        >
          <Icon name="back" />
          {t("viewer.back")}
        </Button>
        <Button onAct={() => turn(-1)}>{t("trend.before")}</Button>
        <Button locked={isToday.value} onAct={() => turn(1)}>{t("trend.after")}</Button>
        <Button locked={hour.value === 0} onAct={() => pick(hour.peek() - 1)}>{t("trend.earlier")}</Button>
        <Button locked={hour.value === HOURS - 1} onAct={() => pick(hour.peek() + 1)}>{t("trend.later")}</Button>
        <Button
          onAct={() => {
            channel.value = other;
          }}
        >
          {code("trend.channel", other)}
        </Button>
        {portals.value.length > 1 && <Button onAct={nextPortal}>{portal.value}</Button>}
      </div>
      <section class="panel plots" aria-label={t("menu.portal")}>
        <Status />
        <Plot title={t("trend.background")} lines={panelLines(day, of, "background_cps")} digits={1} marks={[]} />
        <Plot title={t("trend.dispersion")} lines={panelLines(day, of, "dispersion")} digits={2} marks={[0, 1]} />
        <Plot
          title={t("trend.suppression")}
          lines={suppressionLines(day, [t("trend.median"), t("trend.most")])}
          digits={2}
          marks={[0, 0.3]}
        />
        <div class="axis" aria-hidden="true">
          {Array.from({ length: HOURS / TICK_H + 1 }, (_, i) => i * TICK_H).map((h) => (
            <span key={h} style={{ left: `${(h / HOURS) * 100}%` }}>{h === HOURS ? `${h} h` : h}</span>
          ))}
        </div>
      </section>
    </main>
  );
}
