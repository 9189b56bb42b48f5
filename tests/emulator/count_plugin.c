/* A QEMU plugin that counts executed instructions and writes the running count, one line each,
 * whenever a semihosting call (`bkpt #0xab`) is reached. Loaded with `-plugin file=...,out=PATH`.
 *
 * The declarations are those of QEMU's plugin interface that are needed here, so that no header
 * has to be installed. QEMU_VERSION is major * 100 + minor: interface version 1 serves 7 and 8,
 * version 2 what came after; 9.1 changed how an instruction's bytes are asked for. */

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef void (*translated)(uint64_t id, struct qemu_plugin_tb *block);
typedef void (*executed)(unsigned int cpu, void *data);

extern void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id, translated callback);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *block,
                                                        size_t index);
extern size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *instruction);
#if QEMU_VERSION >= 901
extern size_t qemu_plugin_insn_data(const struct qemu_plugin_insn *instruction, void *to,
                                    size_t size);
#else
extern const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *instruction);
#endif
extern void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *instruction,
                                                   executed callback, int registers, void *data);

#if QEMU_VERSION >= 900
EXPORT int qemu_plugin_version = 2;
#else
EXPORT int qemu_plugin_version = 1;
#endif

static uint64_t count;
static FILE *out;

static void on_instruction(unsigned int cpu, void *data)
{
    (void)cpu;
    (void)data;
    count++;
}

static void on_call(unsigned int cpu, void *data)
{
    (void)cpu;
    (void)data;
    count++;
    fprintf(out, "%llu\n", (unsigned long long)count);
    fflush(out);
}

static int is_call(const struct qemu_plugin_insn *instruction)
{
    uint8_t bytes[4] = { 0 };
    if (qemu_plugin_insn_size(instruction) != 2) {
        return 0;
    }
#if QEMU_VERSION >= 901
    qemu_plugin_insn_data(instruction, bytes, 2);
#else
    memcpy(bytes, qemu_plugin_insn_data(instruction), 2);
#endif
    return bytes[0] == 0xab && bytes[1] == 0xbe;
}

static void on_translation(uint64_t id, struct qemu_plugin_tb *block)
{
    size_t length = qemu_plugin_tb_n_insns(block);
    (void)id;
    for (size_t i = 0; i < length; i++) {
        struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(block, i);
        executed callback = is_call(instruction) ? on_call : on_instruction;
        qemu_plugin_register_vcpu_insn_exec_cb(instruction, callback, 0, NULL);
    }
}

EXPORT int qemu_plugin_install(uint64_t id, const void *info, int argc, char **argv)
{
    (void)info;
    for (int i = 0; i < argc; i++) {
        if (strncmp(argv[i], "out=", 4) == 0) {
            out = fopen(argv[i] + 4, "w");
        }
    }
    if (!out) {
        fprintf(stderr, "count_plugin: give out=PATH\n");
        return 1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    return 0;
}
