/** Made by `npm run types` from docs/reference/openapi.json: change the station's models, not this file. */

export interface AlarmView {
  alarm_id: string;
  code: string;
  device: string | null;
  inspection_id: string | null;
  priority: 1 | 2 | 3;
  raised_utc_us: number;
  silenced_until_utc_us: number | null;
  state: "unack" | "ack" | "rtn_unack";
  stored: boolean;
  values: Record<string, string | number | boolean | null>;
}

export interface BlobUse {
  bytes: number;
  media: string;
  role: "preview" | "image" | "flags" | "raw" | "calibration" | "trace" | "n42" | "photo" | "plate" | "capture" | "event" | "daily" | "daily_events";
  sha256: string;
}

export interface CentreView {
  state: "connected" | "silent" | "never";
  waiting: number;
}

export interface ChannelView {
  alarm: boolean;
  background_cps: number | null;
  counted: boolean;
  limit_cps: number | null;
  max_cps: number | null;
  state: "waiting" | "measuring" | "done" | "failed" | "not_fitted" | "bypassed";
}

export interface Check {
  fraction: number;
  reason: string | null;
  state: CoverageState;
}

export interface Coverage {
  lpr: Check;
  manifest: Check;
  ocr: Check;
  rpm: Check;
  scanner: Check;
}

export type CoverageState = "waiting" | "done" | "not_fitted" | "failed" | "bypassed";

export interface DayStats {
  covered_s: number;
  day: string;
  hours: HourStats[];
  kind: "real" | "simulated" | "test" | "exercise";
  lacks: ("running" | "not_covered" | "trimmed")[];
  station: string;
  total: DayTotal | null;
}

export interface DayTotal {
  alarm_rate: Rate;
  alarms: number;
  codes: Record<string, number>;
  covered_s: number;
  decision_s: Spread;
  disagreed: Record<string, number>;
  down_s: Record<string, Record<string, number>>;
  extended: number;
  false_rate: Rate;
  faults: number;
  gamma: number;
  gamma_faults: number;
  gamma_neutron: number;
  incomplete: Record<string, number>;
  innocent_rate: Rate;
  missed: number;
  neutron: number;
  neutron_faults: number;
  occupancies: number;
  portals: PortalStats[];
  real_rate: Rate;
  tampers: number;
}

export interface Decision {
  at_utc_us: number;
  officer: string;
  reason: string | null;
  seq: number | null;
  verdict: Verdict;
}

export interface DecisionBody {
  inspection_id: string | null;
  reason?: string | null;
  verdict: Verdict;
  version: number;
}

export interface DeviceView {
  cause: string | null;
  mode: "real" | "emulated" | "replay";
  name: string;
  required: boolean;
  role: string;
  state: "starting" | "online" | "degraded" | "stale" | "backoff" | "faulted" | "disabled";
}

export interface DirectiveView {
  action: "hold" | "secondary" | "scan" | "notify";
  alarm_id: string | null;
  authority: string;
  directive_id: string;
  discreet: boolean;
  due_utc_us: number;
  hold_kind: "lookout" | "targeting" | "export_control" | "person" | "legal";
  keys: string[];
  missed: boolean;
  notes: Notes;
  officer: string | null;
  read: "accepted" | "probable" | "other";
  steps: string[];
  version: number;
}

export interface Hazmat {
  class: string | null;
  pg: string | null;
  un: string;
}

export interface HotSpot {
  candidate: boolean;
  col: number | null;
  distributed: boolean;
  fwhm_m: number;
  kind: "gamma" | "gamma_low" | "neutron";
  s_m: number;
  sigma_cols: number | null;
  sigma_m: number;
  speed_from: "encoder" | "portal_speed" | "length";
  version: number;
}

export interface HourStats {
  alarms: number;
  codes: Record<string, number>;
  covered_s: number;
  decision_s: Spread;
  disagreed: Record<string, number>;
  down_s: Record<string, Record<string, number>>;
  extended: number;
  faults: number;
  gamma: number;
  gamma_faults: number;
  gamma_neutron: number;
  hour: number;
  incomplete: Record<string, number>;
  missed: number;
  neutron: number;
  neutron_faults: number;
  occupancies: number;
  portals: PortalStats[];
  tampers: number;
}

export interface Identity {
  container: PlateIdentity | null;
  plate: PlateIdentity | null;
  status: "waiting" | "accepted" | "probable" | "unverified";
}

export interface ImageFacts {
  bits: number;
  col_nose: number | null;
  cols_done: number;
  complete: boolean;
  flip: boolean;
  height: number;
  id: string;
  kinds: string[];
  level_count: number;
  presets: Record<string, [number, number]>;
  px_mm_x: number;
  px_mm_y: number;
  scale: string;
  simulated: boolean;
  width: number;
  window_default: [number, number];
}

export interface ImageReadBody {
  inspection_id: string;
  read_ms: number;
  seen_fraction: number;
  version: number;
}

export interface Incomplete {
  ident: boolean;
  image: boolean;
  rpm: boolean;
}

export interface InspectionView {
  blobs: BlobUse[];
  coverage: Coverage;
  decision: Decision | null;
  directives: DirectiveView[];
  flags: string[];
  identity: Identity;
  image_read: boolean;
  incomplete: Incomplete;
  inspection_id: string;
  level: Level | null;
  manifest: ManifestMatch | null;
  photo: string | null;
  plate_photo: string | null;
  radiation: RadiationView;
  reasons: Reason[];
  release: ReleaseView;
  scan: ScanSummary | null;
  seen: Seen | null;
  state: "open" | "measuring" | "fusing" | "awaiting_decision" | "cleared_by_rule" | "decided" | "referred_secondary" | "aborted";
  version: number;
}

export interface LaneView {
  alarms: AlarmView[];
  at: string;
  centre: CentreView;
  condition: "ok" | "degraded";
  condition_reasons: string[];
  devices: DeviceView[];
  direction: "in" | "out";
  inspection: InspectionView | null;
  lane_id: string;
  last: LastView | null;
  mode: "open" | "draining" | "closed" | "out_of_service";
  mode_cause: string | null;
  name: string;
  officer: string;
  panel_diagonal_in: number;
  simulated: boolean;
  simulated_officer: SimulatedOfficerView | null;
  site: string;
  time_zone: string;
}

export interface LastView {
  at_utc_us: number;
  level: string;
  plate: string;
  verdict: string;
}

export type Level = "clear" | "review_image" | "secondary" | "hold" | "emergency";

export interface Lock {
  args: Record<string, string | number | boolean | null>;
  code: string;
}

export interface ManifestMatch {
  directive_id: string | null;
  directive_version: number | null;
  equipment: string[];
  hazmat: Hazmat[];
  lead_s: number | null;
  norm: string[];
  seals: string[];
  status: "none" | "partial" | "matched" | "ambiguous";
  timeliness: "on_time" | "late" | "unknown";
}

export interface Notes {
  en: string;
  es: string;
}

export interface ObservationBody {
  inspection_id: string;
  placards?: SeenPlacard[] | null;
  seals?: SeenSeal[] | null;
}

export interface PanelStats {
  background_cps: number | null;
  channel: string;
  dispersion: number | null;
  panel: string;
  records: number;
}

export interface PlateIdentity {
  confidence: number | null;
  region: string;
  status: "accepted" | "probable" | "unverified";
  text: string;
}

export interface PortalStats {
  device: string;
  panels: PanelStats[];
  suppression: Spread;
}

export interface ProblemBody {
  detail?: string | null;
  status: number;
  title: string;
  type: string;
}

export interface ProfileView {
  axis: "column" | "time";
  gamma: Strip;
  hot_spots: HotSpot[];
  neutron: Strip;
}

export interface RadiationView {
  gamma: ChannelView;
  hot_spots: HotSpot[];
  neutron: ChannelView;
  unlocated: Unlocated[];
}

export interface Rate {
  count: number;
  high: number | null;
  low: number | null;
  of: number;
  rate: number | null;
}

export interface Reason {
  args: Record<string, string | number | boolean | null>;
  code: string;
  rule: string;
}

export interface ReceivedBody {
  inspection_id: string;
  version: number;
}

export interface ReleaseView {
  allowed: boolean;
  locks: Lock[];
}

export interface ScanSummary {
  calibration: "provisional" | "full" | "none";
  calibration_sha256: string | null;
  cause: string | null;
  col_nose: number | null;
  col_tail: number | null;
  device: string;
  flags: string | null;
  height: number;
  image: string | null;
  lines: number;
  lines_lost: number;
  preview: string | null;
  px_mm_x: number;
  px_mm_y: number;
  raw: string | null;
  scan_id: string;
  starved_m2: number;
  state: "scanning" | "complete" | "incomplete";
  width: number;
}

export interface ScreenBody {
  audio: "running" | "suspended" | "none";
  last_id?: string | null;
  touched_s?: number | null;
  visible: boolean;
}

export interface Seen {
  placards: SeenPlacard[] | null;
  seals: SeenSeal[] | null;
}

export interface SeenPlacard {
  class: string | null;
  un: string | null;
}

export interface SeenSeal {
  no: string;
  state: "intact" | "broken" | "missing";
}

export interface SimulatedOfficerView {
  decides_utc_us: number | null;
}

export interface Spread {
  count: number;
  most: number | null;
  p50: number | null;
  p95: number | null;
}

export interface Strip {
  background: number | null;
  counts: number[];
  dt_s: number;
  limit: number | null;
  s_m: (number | null)[] | null;
  t_ms: number[];
}

export interface Unlocated {
  kind: "gamma" | "gamma_low" | "neutron";
  why: "no_counts" | "start_unknown" | "gap" | "ambiguous" | "direction" | "speed" | "reversal" | "edge" | "too_long" | "fault";
}

export type Verdict = "release" | "secondary" | "hold" | "repeat_pass" | "return";
