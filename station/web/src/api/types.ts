/** What the station says, under the screen's own short names. Its models are generated (schema.ts); what stands
 *  here in full is on the stream, which OpenAPI does not describe. */

import type { Coverage, InspectionView } from "./schema";

export type {
  AlarmView as Alarm, ChannelView as Channel, Check, DayStats, DecisionBody, DirectiveView as Directive, HourStats, ImageFacts, ImageReadBody,
  HotSpot, InspectionView as Inspection, LaneView as Lane, PanelStats, ProblemBody, ProfileView as Profile, Reason, ObservationBody, ReceivedBody, ScanSummary as Scan,
  ScreenBody, Strip,
} from "./schema";

export type CheckName = keyof Coverage;
export type State = InspectionView["state"];
export type Sample = [tMs: number, counts: number, sM: number | null];
export interface Live {
  inspection_id: string | null; gamma: Sample[]; neutron: Sample[]; gamma_s: number;
  now: { gamma_cps: number | null; neutron_cps: number | null };
}
