/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/vocabulary.c - the words for schema/bailiff.cedarschema; change them
 * together. */
#include "policy/vocabulary.h"

static const struct cedar_word types[] = {
    {"principal", {"caller", "调用者"}},
    {"resource", {"model", "模型"}},
    {"Team", {"team", "团队"}},
    {"Caller", {"caller", "调用者"}},
    {"Model", {"model", "模型"}},
    {"ModelGroup", {"model group", "模型组"}},
    {"Engine", {"engine", "引擎"}},
};

static const struct cedar_word actions[] = {
    {"infer", {"use $ for any kind of inference", "使用$进行任何推理"}},
    {"read", {"use $ for reading calls", "使用$进行只读调用"}},
    {"chat", {"use $ to chat", "使用$聊天"}},
    {"complete", {"use $ to complete texts", "使用$补全文本"}},
    {"embed", {"use $ to make embeddings", "使用$生成向量"}},
    {"rerank", {"use $ to rerank", "使用$重排序"}},
    {"transcribe", {"use $ to transcribe speech", "使用$转写语音"}},
    {"translateAudio", {"use $ to translate speech", "使用$翻译语音"}},
    {"speak", {"use $ to speak", "使用$合成语音"}},
    {"generateImage", {"use $ to make images", "使用$生成图像"}},
    {"moderate", {"use $ to moderate", "使用$审核内容"}},
    {"countTokens", {"use $ to count tokens", "使用$统计令牌数"}},
    {"listModels", {"see $ in the list of models", "在模型列表中看到$"}},
    {"deliver", {"be sent the answer of $", "收到$的回答"}},
};

static const struct cedar_word attributes[] = {
    {"principal.kind", {"the caller's kind", "调用者的种类"}},
    {"resource.name", {"the model's name", "模型的名称"}},
    {"resource.version", {"the model's version", "模型的版本"}},
    {"resource.owner", {"the model's owner", "模型的负责人"}},
    {"resource.licence", {"the model's licence", "模型的许可证"}},
    {"resource.riskClass", {"the model's risk class", "模型的风险级别"}},
    {"resource.region", {"the model's region", "模型所在地区"}},
    {"resource.status", {"the model's status", "模型的状态"}},
    {"context.auth.method", {"the way of proving who one is", "身份验证方式"}},
    {"context.auth.key", {"the API key", "API密钥"}},
    {"context.request.ip", {"the caller's address", "调用者的地址"}},
    {"context.request.route", {"the route", "请求路径"}},
    {"context.request.dialect", {"the API dialect", "API方言"}},
    {"context.request.stream",
        {"the wish for a streamed answer", "流式回答的请求"}},
    {"context.time.now", {"the present instant", "当前时刻"}},
    {"context.time.weekday", {"the weekday", "星期"}},
    {"context.time.hour", {"the hour", "钟点"}},
    {"context.time.minute", {"the minute", "分钟"}},
    {"context.time.date", {"the date", "日期"}},
    {"context.input.tokens", {"the number of input tokens", "输入令牌数"}},
    {"context.input.bytes", {"the number of input bytes", "输入字节数"}},
    {"context.input.messages", {"the number of messages", "消息数"}},
    {"context.input.images",
        {"the number of images in the input", "输入中的图像数"}},
    {"context.input.audios",
        {"the number of recordings in the input", "输入中的音频数"}},
    {"context.input.tools", {"the list of tools offered", "所提供的工具列表"}},
    {"context.params.maxTokens",
        {"the most output tokens asked for", "请求的最大输出令牌数"}},
    {"context.params.n", {"the number of answers asked for", "请求的回答数"}},
    {"context.params.temperature", {"the temperature", "温度"}},
    {"context.params.topP", {"top-p", "top-p"}},
    {"context.target.engine", {"the engine", "引擎"}},
    {"context.target.engine.kind", {"the engine's kind", "引擎的种类"}},
    {"context.target.engine.region", {"the engine's region", "引擎所在地区"}},
    {"context.target.upstream",
        {"the engine's name for the model", "引擎对模型的命名"}},
};

static const struct cedar_word facts[] = {
    {"context.request.stream",
        {"a streamed answer is asked for", "请求流式回答"}},
    {"!context.request.stream",
        {"no streamed answer is asked for", "不请求流式回答"}},
    {"context.time.isHoliday", {"it is a holiday", "当天是节假日"}},
    {"!context.time.isHoliday", {"it is no holiday", "当天不是节假日"}},
};

#define WORDS(table)                                                           \
    {                                                                          \
        table, sizeof table / sizeof table[0]                                  \
    }
const struct cedar_vocabulary policy_vocabulary = {
    .types = WORDS(types),
    .actions = WORDS(actions),
    .attributes = WORDS(attributes),
    .facts = WORDS(facts),
};
