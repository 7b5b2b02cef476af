/** Refuses unequal words, unknown keys and literal text: both languages say everything, or the build fails. */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseAst } from "vite";

const SPOKEN = new Set(["aria-label", "title", "alt", "placeholder", "label"]);
const LETTERS = /\p{L}{2,}/u;
const errors = [];
const read = (language) => JSON.parse(readFileSync(`i18n/${language}.json`, "utf8"));
const [en, es] = [read("en"), read("es")];
const groups = new Set(Object.keys(en).map((key) => key.slice(0, key.lastIndexOf("."))));
const names = (text) => [...text.matchAll(/\{(\w+)\}/g)].map((match) => match[1]).sort().join();

for (const key of new Set([...Object.keys(en), ...Object.keys(es)])) {
  if (!(key in en) || !(key in es)) errors.push(`i18n: "${key}" stands in one language only`);
  else if (names(en[key]) !== names(es[key])) errors.push(`i18n: "${key}" has other {names} in es than in en`);
}

function files(folder) {
  return readdirSync(folder, { recursive: true }).filter((name) => /\.tsx?$/.test(name)).map((name) => join(folder, name));
}

/** Strings that an expression can show as they are. */
function literals(node) {
  if (!node) return [];
  if (node.type === "Literal") return typeof node.value === "string" ? [node.value] : [];
  if (node.type === "TemplateLiteral") return node.quasis.map((part) => part.value.cooked);
  if (node.type === "ConditionalExpression") return [...literals(node.consequent), ...literals(node.alternate)];
  if (node.type === "LogicalExpression") return [...literals(node.left), ...literals(node.right)];
  return [];
}

function refuse(file, texts) {
  for (const text of texts) if (LETTERS.test(text)) errors.push(`${file}: literal text "${text.trim()}"`);
}

const used = new Set();
const usedGroups = new Set();

function keys(file, node) {
  const called = node.callee?.name;
  for (const text of literals(node.arguments?.[0])) {
    if (called === "t" && !(text in en)) errors.push(`${file}: t("${text}") is no key of en.json`);
    if (called === "code") usedGroups.add(text);
    if (called === "code" && !groups.has(text)) errors.push(`${file}: code("${text}") is no group of en.json`);
  }
}

function walk(file, node) {
  if (!node || typeof node !== "object") return;
  if (Array.isArray(node)) {
    node.forEach((child) => walk(file, child));
    return;
  }
  if (node.type === "Literal" && typeof node.value === "string") used.add(node.value);
  if (node.type === "JSXText") refuse(file, [node.value]);
  if (node.type === "JSXAttribute" && SPOKEN.has(node.name.name)) refuse(file, literals(node.value?.expression ?? node.value));
  if (node.type === "JSXElement" || node.type === "JSXFragment") {
    for (const child of node.children) if (child.type === "JSXExpressionContainer") refuse(file, literals(child.expression));
  }
  if (node.type === "CallExpression") keys(file, node);
  for (const [name, child] of Object.entries(node)) if (name !== "parent") walk(file, child);
}

for (const file of files("src")) {
  walk(file, parseAst(readFileSync(file, "utf8"), { lang: file.endsWith("x") ? "tsx" : "ts" }));
}
for (const key of Object.keys(en)) {
  if (!used.has(key) && !usedGroups.has(key.slice(0, key.lastIndexOf(".")))) errors.push(`i18n: nothing shows "${key}"`);
}
errors.forEach((error) => console.error(error));
process.exitCode = errors.length ? 1 : 0;
