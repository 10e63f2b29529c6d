/** Chat templates of the kinds that models ship, shortened to what they do to control tokens and content. */
export interface TemplateCase {
  readonly controls: readonly string[];
  readonly template: string;
}

export const TEMPLATES: Readonly<Record<string, TemplateCase>> = {
  "ChatML, words inside one literal": {
    controls: [],
    template:
      "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
  },
  "Llama 3: BOS, trimmed contents": {
    controls: ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
    template:
      "{% for message in messages %}{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}",
  },
  "Zephyr: control tokens in the template's text, eos_token": {
    controls: ["<|user|>", "<|system|>", "<|assistant|>"],
    template:
      "{% for message in messages %}\n{% if message['role'] == 'user' %}\n<|user|>\n{{ message['content'] + eos_token }}\n{% elif message['role'] == 'system' %}\n<|system|>\n{{ message['content'] + eos_token }}\n{% else %}\n<|assistant|>\n{{ message['content'] + eos_token }}\n{% endif %}\n{% endfor %}\n<|assistant|>\n",
  },
  "Llama 2: nothing between content and control token, system text put into the user's": {
    controls: ["<s>", "</s>", "[INST]", "[/INST]"],
    template:
      "{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}{% set system = messages[0]['content'] %}{% else %}{% set rest = messages %}{% set system = '' %}{% endif %}{% for message in rest %}{% if message['role'] == 'user' %}<s>[INST]{% if loop.first %}{{ '<<SYS>>' + system + '<</SYS>>' }}{% endif %}{{ message['content'].strip() }}[/INST]{% else %}{{ message['content'].strip() }}</s>{% endif %}{% endfor %}",
  },
  "GLM: control tokens built from roles": {
    controls: ["<|user|>", "<|system|>", "<|assistant|>", "[gMASK]"],
    template:
      "[gMASK]{% for item in messages %}<|{{ item['role'] }}|>\n{{ item['content'] | trim }}{% endfor %}<|assistant|>",
  },
  "Phi 3 small: control tokens built from roles, with literals": {
    controls: ["<|user|>", "<|system|>", "<|assistant|>", "<|end|>"],
    template:
      "{{ bos_token }}{% for message in messages %}{{ '<|' + message['role'] + '|>\\n' + message['content'] + '<|end|>\\n' }}{% endfor %}{{ '<|assistant|>\\n' }}",
  },
  "contents run together": {
    controls: ["<|end|>"],
    template: "{% for message in messages %}{{ message['content'] }}{% endfor %}<|end|>",
  },
  "contents between pieces of control tokens": {
    controls: ["<|end|>"],
    template:
      "{% for message in messages %}{{ '<|' ~ message['content'] ~ '|>' }}<{{ message['content'] }}{% endfor %}<|end|>",
  },
};
