/** Words: every text of the screen stands in i18n/, in both languages. */

import { signal } from "@preact/signals";
import en from "../../i18n/en.json";
import es from "../../i18n/es.json";

export type Key = keyof typeof en;
const words: Record<"en" | "es", Record<Key, string>> = { en, es };

export const language = signal<"en" | "es">(globalThis.localStorage?.getItem("carril-language") === "es" ? "es" : "en");

export function setLanguage(next: "en" | "es"): void {
  language.value = next;
  localStorage.setItem("carril-language", next);
  document.documentElement.lang = next;
}

/** The text of a key with its {named} values filled in. */
export function t(key: Key, values: Record<string, string | number> = {}): string {
  return words[language.value][key].replace(/\{(\w+)\}/g, (_, name: string) => String(values[name] ?? ""));
}

/** The text of a code of the station; an unknown code is shown raw, never hidden. */
export function code(group: string, value: string, values: Record<string, string | number> = {}): string {
  const key = `${group}.${value}`;
  return key in en ? t(key as Key, values) : value;
}

const locale = () => (language.value === "es" ? "es-MX" : "en-US");

export function number(value: number, digits = 0): string {
  return new Intl.NumberFormat(locale(), { maximumFractionDigits: digits, minimumFractionDigits: digits }).format(value);
}

export function clock(utcUs: number, zone: string): string {
  const options = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23", timeZone: zone } as const;
  return new Intl.DateTimeFormat(locale(), options).format(utcUs / 1000);
}
