import { z } from "zod";
import { type Config, configSchema, type SettingInfo, settingInfos } from "./config.ts";

/** The one setting that is also given without a flag: `canopy serve MODEL`. */
export const POSITIONAL: keyof Config = "model";

/** One setting as the command line sees it. */
export interface Setting {
  readonly key: keyof Config;
  /** With dashes: "--max-model-len". */
  readonly flag: string;
  /** "CANOPY_MAX_MODEL_LEN". */
  readonly env: string;
  /** May be given several times, or once with commas between its values. */
  readonly isList: boolean;
  /** How help writes a value: "PORT", "auto|gpu|software". */
  readonly valueText: string;
  /** How help writes the default; absent where there is none to speak of. */
  readonly defaultText?: string;
  readonly info: SettingInfo;
}

/** Every setting, in the schema's order. */
export const SETTINGS: readonly Setting[] = configSchema.keyof().options.map(toSetting);

function toSetting(key: keyof Config): Setting {
  const field = configSchema.shape[key];
  const info = settingInfos.get(field);
  if (info === undefined) throw new Error(`invariant: the setting ${key} is not described`);
  const words = key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  const inner: unknown = field.unwrap();
  const value: unknown = field.parse(undefined);
  const isList = Array.isArray(value);
  const defaultText = info.defaultText ?? (value === undefined || isList ? undefined : String(value));
  return {
    ...{ key, isList, info },
    flag: `--${words}`,
    env: `CANOPY_${words.replaceAll("-", "_").toUpperCase()}`,
    valueText: inner instanceof z.ZodEnum ? inner.options.join("|") : (info.placeholder ?? "VALUE"),
    ...(defaultText === undefined ? {} : { defaultText }),
  };
}
