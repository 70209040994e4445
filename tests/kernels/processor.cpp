// Prints a hash of what some kernels of the CPU library give for fixed numbers, for every instruction set of
// argv: the same source on another processor must print the same.
#include <cstdio>
#include <cstring>
#include <vector>

#include "kernels.h"

extern "C" {
void vnn_product_f32(const Product<float>*, int);
void vnn_product_bf16(const Product<bf16>*, int);
void vnn_backward_f32(const Backward<float>*, int);
void vnn_activate_f32(const Activate<float>*, int);
void vnn_row_sum_f32(const RowSum<float>*, int);
void vnn_packed_product_f32(const PackedProduct<float>*, int);
void vnn_packed_edge_product_f32(const PackedEdgeProduct<float>*, int);
int vnn_choose_simd(const char*);
}

namespace {

uint32_t state = 1;
uint32_t word() { return state = state * 1664525u + 1013904223u; }

std::vector<float> numbers(int n) {
  std::vector<float> made(n);
  for (float& x : made) x = float(int32_t(word())) / 2147483648.f;
  return made;
}

template <class T>
unsigned long hash(const std::vector<T>& values) {
  unsigned long h = 1469598103934665603ul;
  const unsigned char* p = reinterpret_cast<const unsigned char*>(values.data());
  for (unsigned long i = 0; i < values.size() * sizeof(T); ++i) h = (h ^ p[i]) * 1099511628211ul;
  return h;
}

}  // namespace

int main(int argc, char** argv) {
  const int V = 700, G = 30, R = 5, B = 200;
  std::vector<int32_t> ptr(1, 0), src, ptr_t(V + 1, 0);
  for (int o = 0; o < G; ++o) {
    for (int v = 0; v < V; ++v)
      if ((v * 7 + o * 13) % 11 < (o == 3 ? 11 : 3)) src.push_back(v);
    ptr.push_back(int(src.size()));
  }
  const int E = int(src.size());
  for (int v : src) ++ptr_t[v + 1];
  for (int v = 0; v < V; ++v) ptr_t[v + 1] += ptr_t[v];
  std::vector<int32_t> tgt_t(E), perm_t(E), next(ptr_t.begin(), ptr_t.end() - 1);
  for (int o = 0; o < G; ++o)
    for (int e = ptr[o]; e < ptr[o + 1]; ++e) {
      tgt_t[next[src[e]]] = o;
      perm_t[next[src[e]]++] = e;
    }
  const std::vector<float> x = numbers(V * R * B), w = numbers(E * R), g = numbers(G * R * B), bias = numbers(G * R),
                           codebook = numbers(V * 4);
  std::vector<bf16> half(V * R * B), half_y(G * R * B);
  for (bf16& one : half) one.bits = uint16_t(word() >> 16 & 0xbfff);
  std::vector<uint8_t> bytes(5 * V * 16);
  for (uint8_t& byte : bytes) byte = uint8_t(word() >> 24);
  const std::vector<int64_t> panels = {4, 0, 2, 1};
  std::vector<float> y(G * R * B), dx(V * R * B), dw(E * R), packed_y(G * R * B), packed_dw(E * R), row_sums(G * R), active(y.size());

  const Edges forward{G, 1, 1, ptr.data(), src.data(), nullptr, nullptr, nullptr, nullptr};
  const Edges back{V, 1, 1, ptr_t.data(), tgt_t.data(), perm_t.data(), nullptr, nullptr, nullptr};
  const Codes codes{bytes.data(), V * 16, 16, panels.data(), int64_t(panels.size())};
  for (int i = 1; i < argc; ++i) {
    if (vnn_choose_simd(argv[i])) return 1;
    const Product<float> product{forward, false, R, R, R, B, V, x.data(), w.data(), bias.data(), nullptr, y.data()};
    vnn_product_f32(&product, 2);
    const Product<bf16> short_product{forward, false, R, R, R, B, V, half.data(), w.data(), bias.data(), nullptr, half_y.data()};
    vnn_product_bf16(&short_product, 2);
    const Backward<float> backward{back, R, B, g.data(), x.data(), w.data(), dx.data(), dw.data()};
    vnn_backward_f32(&backward, 2);
    const PackedProduct<float> packed{forward, codes, R, B, codebook.data(), w.data(), bias.data(), nullptr, packed_y.data()};
    vnn_packed_product_f32(&packed, 2);
    const PackedEdgeProduct<float> edges{forward, codes, R, B, codebook.data(), g.data(), packed_dw.data()};
    vnn_packed_edge_product_f32(&edges, 2);
    const RowSum<float> row_sum{G * R, B, y.data(), row_sums.data()};
    vnn_row_sum_f32(&row_sum, 2);
    std::vector<unsigned long> shapes;
    for (const int64_t shape : {TANH, SIGMOID, RELU, SOFTSIGN}) {
      const Activate<float> activate{int64_t(y.size()), shape, y.data(), active.data()};
      vnn_activate_f32(&activate, 2);
      shapes.push_back(hash(active));
    }
    std::printf("%lx %lx %lx %lx %lx %lx %lx %lx\n", hash(row_sums), hash(shapes), hash(y), hash(half_y), hash(dx), hash(dw), hash(packed_y), hash(packed_dw));
  }
}
