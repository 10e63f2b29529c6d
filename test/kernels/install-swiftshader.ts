// A process of its own that installs SwiftShader below the folder it is told, and says whether the driver is complete there.
import { readFileSync } from "node:fs";
import { installSwiftShader } from "../../kernels/swiftshader.ts";

const installed = installSwiftShader(process.argv[2] ?? "");
const icd: unknown = JSON.parse(readFileSync(process.env.VK_DRIVER_FILES ?? "", "utf8"));
console.log(JSON.stringify({ installed, icd }));
