import { defineConfig } from "vite";

// Everything is its own file: the page's content policy forbids data: fonts and inline scripts.
export default defineConfig({
  base: "/",
  esbuild: { jsx: "automatic", jsxImportSource: "preact" },
  build: { assetsInlineLimit: 0, target: "es2022", modulePreload: { polyfill: false } },
} as never);
