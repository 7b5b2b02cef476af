/** Runs tests/*.test.js with node's own runner: vite makes the screen's TypeScript readable for it first. */

import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { build } from "vite";

const OUT = "node_modules/.tests";
const input = readdirSync("tests").filter((name) => name.endsWith(".test.js")).map((name) => `tests/${name}`);
await build({
  configFile: false,
  logLevel: "error",
  build: { ssr: true, outDir: OUT, emptyOutDir: true, target: "node20", rolldownOptions: { input, logLevel: "silent" } },
});
const files = readdirSync(OUT).filter((name) => name.endsWith(".test.js")).map((name) => `${OUT}/${name}`);
const ran = spawnSync(process.execPath, ["--test", ...files], { encoding: "utf8" });
process.exitCode = ran.status ?? 1;
if (process.exitCode) console.error(ran.stdout, ran.stderr);
