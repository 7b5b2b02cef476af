/** The stream from the station: opened again for ever, resumed without loss, watched by age. */

import { getJson, screenId, send } from "./client";
import type { Alarm, Lane, Live, Profile, ScreenBody } from "./types";
import {
  addLive, addRaw, ageS, beat, columns, first, inspection, setCentre, setClock, setProfile, show, stale, strips, tries,
} from "../state/station";
import { holding, pending } from "../state/orders";
import { view } from "../state/view";
import { audio } from "../sound/sound";

const FIRST_RETRY_MS = 500;
/** Below five seconds, so that a station that is back is seen within six. */
const LAST_RETRY_MS = 3000;
const SILENT_MS = 5000;
const ALIGN_MS = 1000;
const SCREEN_MS = 5000;

let source: EventSource | null = null;
let lastId = "";
let heardAt = performance.now();
let openedAt = performance.now();
let profileAt = 0;
let profileRetry: ReturnType<typeof setTimeout> | undefined;
let retryMs = FIRST_RETRY_MS;
let build = "";
let touchedAt: number | null = null;
let retry: ReturnType<typeof setTimeout> | undefined;

export function start(): void {
  void open();
  setInterval(() => {
    ageS.value = (performance.now() - heardAt) / 1000;
    // A stream that was just opened has its own time to speak, however long the silence before it.
    if (source && performance.now() - Math.max(heardAt, openedAt) > SILENT_MS) again();
  }, 100);
  setInterval(() => void report(), SCREEN_MS);
  for (const touch of ["pointerdown", "keydown"]) addEventListener(touch, touched);
}

function touched(): void {
  const fresh = touchedAt === null || performance.now() - touchedAt > SCREEN_MS;
  touchedAt = performance.now();
  if (fresh) void report();
}

/** Takes a snapshot and listens from there. */
async function open(): Promise<void> {
  source?.close();
  source = null;
  try {
    const lane = await getJson<Lane>("/v1/lane");
    lastId = lane.at;
    heard();
    show(lane);
    void refreshProfile();
    listen(lastId);
    document.body.dataset.ready = "1";
    void report();
  } catch {
    again();
  }
}

/** Resumes after the last record that was seen; the station sends a reset when that is too long ago. */
function resume(): void {
  if (lastId) listen(lastId);
  else void open();
}

function again(): void {
  source?.close();
  source = null;
  tries.value += 1;
  clearTimeout(retry);
  retry = setTimeout(resume, retryMs * (0.8 + 0.4 * Math.random()));
  retryMs = Math.min(LAST_RETRY_MS, retryMs * 2);
}

function listen(after: string): void {
  source?.close();
  const stream = new EventSource(`/v1/lane/events?after=${encodeURIComponent(after)}`);
  source = stream;
  openedAt = performance.now();
  const on = <T>(name: string, take: (data: T, event: MessageEvent<string>) => void) =>
    stream.addEventListener(name, (event) => {
      heard();
      take(JSON.parse((event as MessageEvent<string>).data) as T, event as MessageEvent<string>);
    });
  on<{ prev: string; type: string; lane: Lane }>("record", (record, event) => {
    if (record.prev !== lastId) {
      void open();
      return;
    }
    lastId = event.lastEventId;
    document.body.dataset.lastId = lastId;
    show(record.lane);
    if (/occupancy\.ended|scan\.completed/.test(record.type)) void refreshProfile();
  });
  on<{ lane: Lane }>("lane", (message) => show(message.lane));
  on<Live>("live", addLive);
  on<{ scan_id: string; to: number }>("scan.cols", (made) => {
    columns.value = { scan: made.scan_id, to: made.to };
    if (!strips.peek().aligned && performance.now() - profileAt > ALIGN_MS) void refreshProfile();
  });
  on<{ alarm: Alarm }>("alarm_raw", (message) => addRaw(message.alarm));
  let begun = false;
  on<{ utc_us: number; web: string; centre: Lane["centre"] }>("hb", ({ utc_us, web, centre }) => {
    setClock(utc_us);
    setCentre(centre);
    // The first one comes with the stream, not a second after another.
    if (begun) beat();
    begun = true;
    if (build && web && web !== build) void reload(web);
    else build = web || build;
  });
  on("reset", () => void open());
  on("bye", () => {
    heardAt = -Infinity;
    again();
  });
  stream.onerror = () => {
    if (source === stream) again();
  };
}

function heard(): void {
  heardAt = performance.now();
  ageS.value = 0;
  retryMs = FIRST_RETRY_MS;
  tries.value = 0;
}

/** Whether the officer needs this page as it is; a Hold that waits for its answer would be lost with it. */
const needed = () =>
  stale.peek() || view.peek() !== "lane" || first.peek()?.state === "unack" || pending.peek() || holding.peek();

/** A new front end was built: load it once the page really is there and nothing needs the officer. */
async function reload(next: string): Promise<void> {
  if (needed()) return;
  const page = await fetch("/", { cache: "no-store" }).catch(() => null);
  if (!page?.ok || needed()) return;
  build = next;
  location.reload();
}

async function refreshProfile(): Promise<void> {
  const id = inspection.peek()?.inspection_id;
  if (!id) return;
  profileAt = performance.now();
  clearTimeout(profileRetry);
  try {
    const profile = await getJson<Profile>(`/v1/inspections/${id}/profile`);
    if (inspection.peek()?.inspection_id === id) setProfile(profile);
  } catch {
    // The live samples fill the strips meanwhile. After the last measurement nothing else asks again.
    profileRetry = setTimeout(() => void refreshProfile(), ALIGN_MS);
  }
}

async function report(): Promise<void> {
  const touched = touchedAt === null ? null : (performance.now() - touchedAt) / 1000;
  const body: ScreenBody = { visible: !document.hidden, audio: audio.peek(), last_id: lastId || null, touched_s: touched };
  await send("PUT", `/v1/lane/screens/${screenId}`, body).catch(() => null);
}
