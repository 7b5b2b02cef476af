/** A picture of the station's store, asked for again until it is here: the browser alone asks once. */

import { useState } from "preact/hooks";

const RETRY_MS = 1000;

export function BlobImage({ sha256, alt, class: name }: { sha256: string; alt: string; class?: string }) {
  const [tries, setTries] = useState(0);
  return (
    <img
      key={`${sha256} ${tries}`}
      class={name}
      src={`/v1/blobs/${sha256}`}
      alt={alt}
      onError={() => setTimeout(setTries, RETRY_MS, tries + 1)}
    />
  );
}
