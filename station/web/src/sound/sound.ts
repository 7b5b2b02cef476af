/** The alarm's sound: looped buffers, so that it plays on when the page is busy. */

import { effect, signal } from "@preact/signals";
import { alarms, stationUs } from "../state/station";

export const audio = signal<"running" | "suspended" | "none">("none");

let context: AudioContext | null = null;
let playing: AudioBufferSourceNode | null = null;

/** Two pulses a second at 800 and 1,000 Hz. */
function pulses(at: AudioContext): AudioBuffer {
  const rate = at.sampleRate;
  const buffer = at.createBuffer(1, rate, rate);
  const wave = buffer.getChannelData(0);
  for (let i = 0; i < wave.length; i += 1) {
    const second = i / rate;
    const hertz = second < 0.5 ? 800 : 1000;
    const inPulse = second % 0.5 < 0.25;
    wave[i] = inPulse ? 0.4 * Math.sin(2 * Math.PI * hertz * second) : 0;
  }
  return buffer;
}

function unlock(): void {
  context ??= new AudioContext();
  void context.resume().then(note, note);
}

function note(): void {
  audio.value = context?.state === "running" ? "running" : "suspended";
  follow();
}

function loop(on: boolean): void {
  if (!on || !context) {
    playing?.stop();
    playing = null;
    return;
  }
  if (playing) return;
  playing = context.createBufferSource();
  playing.buffer = pulses(context);
  playing.loop = true;
  playing.connect(context.destination);
  playing.start();
}

function follow(): void {
  const now = stationUs();
  loop(
    alarms.peek().some((alarm) => alarm.priority === 1 && alarm.state === "unack" && (alarm.silenced_until_utc_us ?? 0) < now),
  );
}

export function soundTest(): void {
  unlock();
  loop(true);
  setTimeout(follow, 1000);
}

export function startSound(): void {
  addEventListener("pointerdown", unlock, { once: true });
  addEventListener("keydown", unlock, { once: true });
  try {
    context = new AudioContext();
    context.onstatechange = note;
    note();
  } catch {
    audio.value = "none";
  }
  effect(() => {
    void alarms.value;
    follow();
  });
  setInterval(follow, 1000);
}
