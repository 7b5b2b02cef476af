/** Radiograph, strips and axis in one panel, over one map of metres to pixels. */

import { useEffect, useRef } from "preact/hooks";
import { t } from "../state/i18n";
import { axis, box } from "../state/view";
import { AxisRow, Strip } from "./Strips";
import { Radiograph } from "./Radiograph";
import { Rail, Value } from "./Rail";

/** `rail`: least width of the words beside the image, in grid units; 0: the image takes all. */
export function Scan({ rail }: { rail: number }) {
  const panel = useRef<HTMLElement>(null);
  useEffect(() => {
    const measure = () => {
      const element = panel.current;
      const image = element?.firstElementChild;
      if (!element || !image) return;
      const u = parseFloat(getComputedStyle(document.documentElement).fontSize) / 10;
      box.value = { width: element.clientWidth - rail * u, height: image.clientHeight, u };
    };
    measure();
    const observer = new ResizeObserver(measure);
    if (panel.current) observer.observe(panel.current);
    if (panel.current?.firstElementChild) observer.observe(panel.current.firstElementChild);
    return () => observer.disconnect();
  }, [rail]);
  return (
    <section class={`scan panel ${rail ? "" : "whole"}`} ref={panel} style={{ "--map": `${axis.value.width}px` }}>
      <Radiograph />
      {rail > 0 && <Rail />}
      <Strip.gamma />
      {rail > 0 && <Value of="gamma" />}
      <Strip.neutron />
      {rail > 0 && <Value of="neutron" />}
      <AxisRow />
      {rail > 0 && <div class="caption"><span class="cut">{t(axis.value.aligned ? "axis.m" : "axis.time")}</span></div>}
    </section>
  );
}
