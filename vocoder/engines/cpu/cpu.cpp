// Which instruction sets this machine can run: the processor must have them (CPUID) and the operating system must save
// their registers (XGETBV; for AMX also its permission).
#include "kernels.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <stdint.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

#define DECLARE(name) namespace name { extern const Kernels kernels[]; }
// A compiler too old for a set leaves it out and defines VOCODER_WITHOUT_<SET> (CMakeLists.txt).

namespace {

bool always() { return true; }

#if defined(__x86_64__)

struct Cpu {
  bool avx2, avx512, vnni, bf16, amx;

  Cpu() {
    uint32_t a = 0, b = 0, c = 0, d = 0, leaves = __get_cpuid_max(0, nullptr);
    avx2 = avx512 = vnni = bf16 = amx = false;
    if (leaves < 7) return;
    __cpuid(1, a, b, c, d);
    const bool xsave = c >> 27 & 1, avx = c >> 28 & 1, fma = c >> 12 & 1;
    if (!xsave || !avx) return;
    const uint64_t saved = registers_saved();
    const bool ymm = (saved & 0x6) == 0x6, zmm = (saved & 0xe6) == 0xe6, tiles = (saved & 0x60000) == 0x60000;
    __cpuid_count(7, 0, a, b, c, d);
    const uint32_t subleaves = a;
    avx2 = ymm && fma && (b >> 5 & 1);
    avx512 = avx2 && zmm && (b >> 16 & 1) && (b >> 17 & 1) && (b >> 30 & 1) && (b >> 31 & 1);  // F, DQ, BW, VL
    vnni = avx512 && (c >> 11 & 1);
    const bool amx_all = tiles && (d >> 22 & 1) && (d >> 24 & 1) && (d >> 25 & 1);  // BF16, TILE, INT8
    if (subleaves >= 1) {
      __cpuid_count(7, 1, a, b, c, d);
      bf16 = vnni && (a >> 5 & 1);
    }
    amx = bf16 && amx_all && permitted();
  }

  static uint64_t registers_saved() {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
  }

  static bool permitted() {
#if defined(__linux__)
    return syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18 /* XFEATURE_XTILEDATA */) == 0;
#else
    return false;
#endif
  }
};

const Cpu &cpu() {
  static const Cpu found;
  return found;
}

[[maybe_unused]] bool has_avx2() { return cpu().avx2; }
[[maybe_unused]] bool has_avx512() { return cpu().avx512; }
[[maybe_unused]] bool has_vnni() { return cpu().vnni; }
[[maybe_unused]] bool has_bf16() { return cpu().bf16; }
[[maybe_unused]] bool has_amx() { return cpu().amx; }
#endif

}  // namespace

DECLARE(generic)
#if defined(__x86_64__)
#if !defined(VOCODER_WITHOUT_AVX2)
DECLARE(avx2)
#endif
#if !defined(VOCODER_WITHOUT_AVX512)
DECLARE(avx512)
#endif
#if !defined(VOCODER_WITHOUT_AVX512_VNNI)
DECLARE(avx512_vnni)
#endif
#if !defined(VOCODER_WITHOUT_AVX512_BF16)
DECLARE(avx512_bf16)
#endif
#if !defined(VOCODER_WITHOUT_AMX)
DECLARE(amx)
#endif
#endif

const InstructionSet instruction_sets[] = {
#if defined(__x86_64__)
#if !defined(VOCODER_WITHOUT_AMX)
    {"amx", has_amx, amx::kernels},
#endif
#if !defined(VOCODER_WITHOUT_AVX512_BF16)
    {"avx512_bf16", has_bf16, avx512_bf16::kernels},
#endif
#if !defined(VOCODER_WITHOUT_AVX512_VNNI)
    {"avx512_vnni", has_vnni, avx512_vnni::kernels},
#endif
#if !defined(VOCODER_WITHOUT_AVX512)
    {"avx512", has_avx512, avx512::kernels},
#endif
#if !defined(VOCODER_WITHOUT_AVX2)
    {"avx2", has_avx2, avx2::kernels},
#endif
#endif
    {"generic", always, generic::kernels},
    {nullptr, nullptr, nullptr},
};
