/** The few signs of the screen, drawn as paths in a box of 24. */

const PATHS = {
  hold: "M3 3h18v18H3zM9 8v8M15 8v8",
  secondary: "M2 20c7 0 5-13 17-13M14 2l6 5-6 5",
  release: "M3 13l6 6L21 5",
  lock: "M4 10h3V7a5 5 0 0 1 10 0v3h3v12H4zM9.500 10h5V7a2.500 2.500 0 0 0-5 0z",
  menu: "M3 6h18M3 12h18M3 18h18",
  done: "M4 13l5 5L20 6",
  waiting: "M4 12h.1M12 12h.1M20 12h.1",
  not_fitted: "M4 12h16",
  failed: "M5 5l14 14M19 5L5 19",
  bypassed: "M12 3a9 9 0 1 0 .1 0M5.6 5.6l12.8 12.8",
  clear: "M12 2a10 10 0 1 0 .1 0M7 12.500l3.500 3.500L17 9",
  warning: "M12 3L22 21H2z",
  silence: "M3 9h4l6-5v16l-6-5H3zM17 9l5 6M22 9l-5 6",
  eye: "M2 12c5-8 15-8 20 0c-5 8-15 8-20 0zM12 9a3 3 0 1 0 .1 0",
  starved: "M3 3h18v18H3zM3 12l9-9M3 21L21 3M12 21l9-9",
  open: "M3 9V3h6M15 3h6v6M21 15v6h-6M9 21H3v-6",
  travel: "M70 12H3M12 3L3 12l9 9",
  back: "M21 12H4M11 5l-7 7 7 7",
} as const;

export type IconName = keyof typeof PATHS;
const FILLED: ReadonlySet<IconName> = new Set(["warning", "lock"]);

export function Icon({ name, size = 2.6 }: { name: IconName; size?: number }) {
  const wide = name === "travel" ? 3 : 1;
  const height = `${size}rem`;
  return (
    <svg
      viewBox={`0 0 ${24 * wide} 24`}
      style={{ width: `${size * wide}rem`, height }}
      fill={FILLED.has(name) ? "currentColor" : "none"}
      stroke="currentColor"
      fill-rule="evenodd"
      stroke-width={FILLED.has(name) ? 0 : name === "waiting" ? 4 : 3}
      stroke-linecap={name === "waiting" ? "round" : "butt"}
      aria-hidden="true"
    >
      <path d={PATHS[name]} />
    </svg>
  );
}
