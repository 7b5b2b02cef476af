/** What the station says, under the screen's own short names. Its models are generated (schema.ts); what stands
 *  here in full is on the stream or in answers that OpenAPI does not describe yet. */

import type { Coverage, InspectionView } from "./schema";

export type {
  AlarmView as Alarm, ChannelView as Channel, Check, DecisionBody, ImageReadBody, InspectionView as Inspection,
  LaneView as Lane, ProblemBody, Reason, ScanSummary as Scan, ScreenBody,
} from "./schema";

export type CheckName = keyof Coverage;
export type State = InspectionView["state"];
export type Sample = [tMs: number, counts: number, sM: number | null];
export interface Live {
  inspection_id: string | null; gamma: Sample[]; neutron: Sample[];
  now: { gamma_cps: number | null; neutron_cps: number | null };
}
export interface Strip {
  t_ms: number[]; s_m: (number | null)[] | null; counts: number[]; dt_s: number;
  background: number | null; limit: number | null;
}
export interface Profile { axis: "column" | "time"; gamma: Strip; neutron: Strip }
export interface ImageFacts {
  id: string; width: number; height: number; px_mm_x: number; px_mm_y: number; col_nose: number | null;
  kinds: string[]; cols_done: number; complete: boolean;
  window_default: [number, number]; presets: Record<string, [number, number]>;
}
