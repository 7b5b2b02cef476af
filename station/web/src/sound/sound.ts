/** The alarm's sound: looped buffers, so that it plays on when the page is busy. */

import { effect, signal } from "@preact/signals";
import { alarms, stationUs } from "../state/station";
import { PATTERNS, type Sound, soundOf } from "./rule";

export const audio = signal<"running" | "suspended" | "none">("none");

const LOUD = 0.4;
let context: AudioContext | null = null;
let playing: { sound: Sound; source: AudioBufferSourceNode } | null = null;

function waves(at: AudioContext, sound: Sound): AudioBuffer {
  const { loopS, beeps } = PATTERNS[sound];
  const rate = at.sampleRate;
  const buffer = at.createBuffer(1, Math.round(loopS * rate), rate);
  const wave = buffer.getChannelData(0);
  for (const { hertz, atS, lastsS } of beeps) {
    const from = Math.round(atS * rate);
    for (let i = 0; i < lastsS * rate; i += 1) wave[from + i] = LOUD * Math.sin((2 * Math.PI * hertz * i) / rate);
  }
  return buffer;
}

/** A browser lets a page sound only after a touch, and may take it away again. */
function unlock(): void {
  if (context?.state === "running") return;
  context ??= new AudioContext();
  void context.resume().then(note, note);
}

function note(): void {
  audio.value = context?.state === "running" ? "running" : "suspended";
  follow();
}

function play(sound: Sound | null): void {
  if (playing?.sound === sound) return;
  playing?.source.stop();
  playing = null;
  if (!sound || !context) return;
  const source = context.createBufferSource();
  source.buffer = waves(context, sound);
  source.loop = true;
  source.connect(context.destination);
  source.start();
  playing = { sound, source };
}

function follow(): void {
  const sound = soundOf(alarms.peek(), stationUs());
  document.body.dataset.sound = sound ?? "";
  play(sound);
}

export function soundTest(): void {
  unlock();
  play("p1");
  setTimeout(follow, 1000);
}

export function startSound(): void {
  for (const touch of ["pointerdown", "keydown"]) addEventListener(touch, unlock);
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
