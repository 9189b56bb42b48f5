/* What CMSIS-NN of 2022 takes from CMSIS-Core, in terms of gcc's own intrinsics. */
#pragma once
#include <arm_acle.h>
#include <stdint.h>

#define __STATIC_FORCEINLINE static inline __attribute__((always_inline))
#define __STATIC_INLINE static inline
#define __RESTRICT __restrict
#define __ALIGNED(x) __attribute__((aligned(x)))
#define __SXTB16 __sxtb16
#define __QADD16 __qadd16
#define __SMLAD __smlad
#define __SSAT __ssat
#define __CLZ __builtin_clz

__STATIC_FORCEINLINE uint32_t __ROR(uint32_t value, uint32_t amount)
{
    amount %= 32;
    return amount ? value >> amount | value << (32 - amount) : value;
}

/* `result = OPERATION a, b, SHIFT #amount`, and the same of one operand. */
#define SHIFTED_2(operation, a, b, shift, amount)                                                  \
    ({                                                                                             \
        uint32_t shifted;                                                                          \
        __asm__(operation " %0, %1, %2, " shift " %3"                                              \
                : "=r"(shifted)                                                                    \
                : "r"(a), "r"(b), "i"(amount));                                                    \
        shifted;                                                                                   \
    })
#define __SXTB16_RORn(value, amount)                                                               \
    ({                                                                                             \
        uint32_t rotated;                                                                          \
        __asm__("sxtb16 %0, %1, ror %2" : "=r"(rotated) : "r"(value), "i"(amount));                \
        rotated;                                                                                   \
    })
#define __PKHBT(low, high, amount) SHIFTED_2("pkhbt", low, high, "lsl", amount)
/* Zero is no shift of PKHTB: PKHBT with exchanged operands is the same. */
#define __PKHTB(high, low, amount)                                                                 \
    ((amount) ? SHIFTED_2("pkhtb", high, low, "asr", (amount) ? (amount) : 1)                      \
              : SHIFTED_2("pkhbt", low, high, "lsl", 0))
