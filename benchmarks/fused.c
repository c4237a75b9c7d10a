/* W1 by hand for this one venue: margins and scores in one pass over accounts, then a radix sort a segment.
   Rules are fixed in the code, nothing is checked, and comparisons are those of floats. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define TIERS 10
#define LIGHTS 5

static inline uint64_t descending(double score) {
    uint64_t bits;
    score += 0.0;
    memcpy(&bits, &score, 8);
    return bits >> 63 ? bits : ~(bits | (uint64_t)1 << 63);
}

static void sort_words(uint64_t *w, uint64_t *other, int64_t n, int low) {
    static _Thread_local uint32_t count[3][2048];
    memset(count, 0, sizeof count);
    for (int64_t i = 0; i < n; i++) {
        uint64_t x = w[i] >> low;
        count[0][x & 2047]++;
        count[1][x >> 11 & 2047]++;
        count[2][x >> 22 & 2047]++;
    }
    for (int d = 0; d < 3; d++) {
        uint32_t total = 0;
        for (int i = 0; i < 2048; i++) {
            uint32_t held = count[d][i];
            count[d][i] = total;
            total += held;
        }
        for (int64_t i = 0; i < n; i++) other[count[d][w[i] >> (low + 11 * d) & 2047]++] = w[i];
        uint64_t *swap = w;
        w = other;
        other = swap;
    }
    /* Three passes end in `other`; what the lower bits leave is put right by insertion. */
    for (int64_t i = 1; i < n; i++) {
        uint64_t x = w[i];
        int64_t j = i;
        for (; j > 0 && w[j - 1] > x; j--) w[j] = w[j - 1];
        w[j] = x;
    }
    memcpy(other, w, n * 8);
}

int fused(int64_t n, int64_t accounts, int instruments, int ranks, const int32_t *account, const int32_t *instrument,
          const double *quantity, const double *entry, const double *balance, const double *mark, const double *cap,
          const double *rate, const double *leverage, const double *deduction, double *notional, int32_t *tier,
          double *initial, double *maintenance, double *pnl, double *equity, int8_t *state, double *score,
          int32_t *rank, int8_t *light) {
    int64_t segments = 2 * (int64_t)instruments, at = 0, longest = 0;
    int64_t *start = calloc(segments + 1, 8), *place = malloc(segments * 8);
    int row_bits = 1;
    while ((int64_t)1 << row_bits < n) row_bits++;
    for (int64_t a = 0; a < accounts; a++) {
        int64_t first = at;
        double profit = 0, due = 0, required = 0;
        for (; at < n && account[at] == a; at++) {
            int m = instrument[at];
            double q = quantity[at], value = fabs(q) * mark[m], gain = q * (mark[m] - entry[at]);
            int t = 0;
            for (int k = 0; k < TIERS - 1; k++) t += value > cap[m * TIERS + k];
            notional[at] = value;
            pnl[at] = gain;
            tier[at] = t;
            maintenance[at] = value * rate[t] - deduction[m * TIERS + t];
            initial[at] = value / leverage[t];
            profit += gain;
            due += maintenance[at];
            required += initial[at];
            start[2 * m + (q < 0) + 1]++;
        }
        double own = balance[a] + profit;
        equity[a] = own;
        state[a] = own < 0 ? 2 : own < due ? 1 : 0;
        if (ranks)
            for (int64_t i = first; i < at; i++) {
                double gain = pnl[i] / (fabs(quantity[i]) * entry[i]), effective = notional[i] / (own > 1 ? own : 1);
                score[i] = pnl[i] > 0 ? gain * effective : gain / effective;
            }
    }
    if (ranks) {
        uint64_t rows = ((uint64_t)1 << row_bits) - 1, *words = malloc(n * 8), *other;
        for (int64_t s = 0; s < segments; s++) {
            place[s] = start[s];
            if (start[s + 1] > longest) longest = start[s + 1];
            start[s + 1] += start[s];
        }
        other = malloc(longest * 8 + 8);
        for (int64_t i = 0; i < n; i++)
            words[place[2 * instrument[i] + (quantity[i] < 0)]++] = (descending(score[i]) & ~rows) | (uint64_t)i;
        for (int64_t s = 0; s < segments; s++) {
            int64_t size = start[s + 1] - start[s], next = 0;
            uint64_t *w = words + start[s];
            int lit = LIGHTS + 1;
            sort_words(w, other, size, 31);
            for (int64_t i = 1; i < size; i++)
                if (w[i] >> row_bits == w[i - 1] >> row_bits) {
                    int64_t j = i;
                    uint64_t x = w[i];
                    for (; j > 0 && w[j - 1] >> row_bits == x >> row_bits && score[w[j - 1] & rows] < score[x & rows]; j--)
                        w[j] = w[j - 1];
                    w[j] = x;
                }
            for (int64_t k = 0; k < size; k++) {
                while (k >= next) {
                    lit--;
                    next = ((LIGHTS - lit + 1) * size + LIGHTS - 1) / LIGHTS;
                }
                rank[w[k] & rows] = (int32_t)(k + 1);
                light[w[k] & rows] = (int8_t)lit;
            }
        }
        free(words);
        free(other);
    }
    free(start);
    free(place);
    return 0;
}
