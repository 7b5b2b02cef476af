/** A button for gloves: acts when the finger leaves it inside, for what was seen when the finger came down. */

import type { ComponentChildren } from "preact";
import { useRef } from "preact/hooks";
import { signal } from "@preact/signals";
import { lane } from "../state/station";
import { type Seen, seen } from "../state/orders";

const DRAG_MM = 10;
const MM_PER_INCH = 25.4;

interface Press { element: Element; pointer: number; x: number; y: number; from: Seen }
/** The one press of the screen: further contacts are ignored while it lasts. */
const press = signal<Press | null>(null);

interface Props {
  class?: string;
  label?: string;
  /** Why it does nothing now; it stays focusable and says so. */
  locked?: boolean;
  pressed?: boolean;
  onAct: (from: Seen) => void;
  /** Where a locked button leads: to what would unlock it. */
  onLocked?: () => void;
  children: ComponentChildren;
}

function pxPerMm(): number {
  const diagonalMm = (lane.peek()?.panel_diagonal_in ?? 12.1) * MM_PER_INCH;
  return Math.hypot(screen.width, screen.height) / diagonalMm;
}

function down(event: PointerEvent): void {
  const element = event.currentTarget as HTMLElement;
  // A button that was taken away under its finger never hears it lift: its press must not lock the others.
  if (press.peek()?.element.isConnected || event.button !== 0) return;
  element.setPointerCapture(event.pointerId);
  press.value = { element, pointer: event.pointerId, x: event.clientX, y: event.clientY, from: seen() };
}

function move(event: PointerEvent): void {
  const held = press.peek();
  if (held?.pointer !== event.pointerId) return;
  if (Math.hypot(event.clientX - held.x, event.clientY - held.y) > DRAG_MM * pxPerMm()) press.value = null;
}

/** Ends the press; returns what was seen at its begin if it counts. */
function up(event: PointerEvent): Seen | null {
  const held = press.peek();
  if (held?.pointer !== event.pointerId) return null;
  press.value = null;
  const { left, right, top, bottom } = held.element.getBoundingClientRect();
  const inside = event.clientX >= left && event.clientX <= right && event.clientY >= top && event.clientY <= bottom;
  return inside && held.element === event.currentTarget ? held.from : null;
}

function cancel(event: PointerEvent): void {
  if (press.peek()?.pointer === event.pointerId) press.value = null;
}

export function Button({ class: name = "button", label, locked = false, pressed, onAct, onLocked, children }: Props) {
  const act = (from: Seen) => (locked ? onLocked?.() : onAct(from));
  /** What was seen when the key went down: the space bar acts when it comes up again. */
  const keyed = useRef<Seen | null>(null);
  return (
    <button
      type="button"
      class={name}
      aria-label={label}
      aria-disabled={locked}
      aria-pressed={pressed}
      onPointerDown={down}
      onPointerMove={move}
      onPointerCancel={cancel}
      onLostPointerCapture={cancel}
      onPointerUp={(event: PointerEvent) => {
        const from = up(event);
        if (from) act(from);
      }}
      onKeyDown={(event: KeyboardEvent) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        if (event.repeat) event.preventDefault();
        else keyed.current = seen();
      }}
      onClick={(event: MouseEvent) => {
        if (event.detail !== 0) return;
        act(keyed.current ?? seen());
        keyed.current = null;
      }}
    >
      {children}
    </button>
  );
}
