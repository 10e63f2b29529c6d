// Makes sure that there is a Chromium for the browser tests: CHROMIUM_PATH where it is set, else Debian's package.
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";

const path = process.env.CHROMIUM_PATH ?? "/usr/bin/chromium";

function fail(message) {
  console.error(`ensure-chromium: ${message}`);
  process.exit(1);
}

if (!existsSync(path)) {
  if (process.env.CHROMIUM_PATH !== undefined) fail(`CHROMIUM_PATH is ${path}, which does not exist`);
  if (process.getuid?.() !== 0 || !existsSync("/usr/bin/apt-get")) {
    fail(`no ${path}; install Chromium ("apt-get install chromium" on Debian) or set CHROMIUM_PATH to one`);
  }
  const options = { stdio: "inherit", env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" } };
  execFileSync("apt-get", ["update", "-q"], options);
  execFileSync("apt-get", ["install", "-qy", "--no-install-recommends", "chromium", "fonts-dejavu-core"], options);
  if (!existsSync(path)) fail(`apt-get installed chromium, but there is no ${path}`);
}
