/** Which vehicle this is: photo, plate, container. */

import { code, t } from "../state/i18n";
import { inspection } from "../state/station";
import { BlobImage } from "./BlobImage";
import { Qr } from "./Qr";

export function Photo() {
  const photo = inspection.value?.photo;
  return (
    <div class="photo panel">
      {photo ? <BlobImage sha256={photo} alt={t("photo.vehicle")} /> : inspection.value && <span>{t("photo.none")}</span>}
    </div>
  );
}

/** The plate, or why there is none. */
export function plateText(): { text: string; known: boolean } {
  const vehicle = inspection.value;
  const plate = vehicle?.identity.plate;
  if (plate) return { text: plate.text, known: true };
  if (!vehicle) return { text: t("lane.free"), known: false };
  return { text: t(vehicle.coverage.lpr.state === "waiting" ? "plate.waiting" : "plate.unread"), known: false };
}

function containerText(): { text: string; known: boolean } {
  const vehicle = inspection.value;
  const container = vehicle?.identity.container;
  if (container) return { text: container.text, known: container.status === "accepted" };
  const waits = vehicle?.coverage.ocr.state === "waiting";
  return { text: t(waits ? "container.waiting" : "container.none"), known: false };
}

/** What was declared of this vehicle; without a source of manifests, that there is none. */
function manifestText(): string {
  const vehicle = inspection.value;
  if (!vehicle) return t("lane.free.text");
  const status = vehicle.manifest?.status;
  if (!status) return t("manifest.none");
  if (status !== "none") return code("manifest", status);
  return t(vehicle.coverage.manifest.state === "waiting" ? "manifest.waiting" : "manifest.absent");
}

export function Identity() {
  const vehicle = inspection.value;
  const plate = plateText();
  const container = containerText();
  const probable = vehicle?.identity.plate && vehicle.identity.plate.status !== "accepted";
  return (
    <section class="identity panel">
      {vehicle?.plate_photo ? <BlobImage class="crop" sha256={vehicle.plate_photo} alt={t("photo.plate")} /> : <div />}
      {plate.known && <Qr text={plate.text} />}
      <div class={`cut plate ${plate.known ? "" : "wait"}`}>{plate.text}</div>
      {vehicle && <div class={`cut container ${container.known ? "strong" : "muted wait"}`}>{container.text}</div>}
      <div class="cut muted">
        {probable ? <span class="badge">{t("plate.probable")}</span> : manifestText()}
      </div>
    </section>
  );
}
