// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/h5_file.h"

#include <algorithm>
#include <mutex>
#include <numeric>
#include <set>
#include <string>
#include <utility>

#include <hdf5.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernels/base/check.h"

namespace tessera {
namespace {

constexpr hsize_t kAlignment = 4096;  // of data: a page, and what O_DIRECT wants
// Header and two small attributes of one dataset, roughly: groups the metadata at the file's start.
constexpr hsize_t kMetadataPerDataset = 768;

std::mutex& library() {  // not every build of libhdf5 is thread-safe
  static std::mutex mutex;
  return mutex;
}

// An HDF5 identifier, closed by the function that fits it.
class Handle {
 public:
  Handle(hid_t id, herr_t (*closer)(hid_t), const char* what) : id_(id), close_(closer) {
    check(id_ >= 0, "libhdf5 refused:", what);
  }
  ~Handle() {
    if (id_ >= 0) close_(id_);
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  operator hid_t() const { return id_; }
  herr_t close() { return close_(std::exchange(id_, -1)); }

 private:
  hid_t id_;
  herr_t (*close_)(hid_t);
};

void require(herr_t status, const char* what) {
  check(status >= 0, "libhdf5 refused:", what);
}

// A file in memory with a name that libhdf5 can open: sparse, so that only metadata costs memory.
class MemoryFile {
 public:
  MemoryFile() : fd_(::memfd_create("tessera-skeleton", MFD_CLOEXEC)) {
    check(fd_ >= 0, ErrorKind::capacity, "out of memory: memfd_create failed");
  }
  ~MemoryFile() { ::close(fd_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  std::string path() const { return "/proc/self/fd/" + std::to_string(fd_); }
  int64_t size() const {
    struct stat facts {};
    check(::fstat(fd_, &facts) == 0, "cannot look at a file in memory");
    return facts.st_size;
  }
  std::string read(int64_t offset, int64_t bytes) const {
    std::string text(static_cast<size_t>(bytes), '\0');
    for (int64_t at = 0; at < bytes;) {
      const ssize_t done =
          ::pread(fd_, text.data() + at, static_cast<size_t>(bytes - at), offset + at);
      check(done > 0, "cannot read a file in memory");
      at += done;
    }
    return text;
  }

 private:
  int fd_;
};

// Bit fields after IEEE 754's pattern: sign on top, then exponent, then mantissa.
hid_t narrow_float(size_t bytes, size_t exponent_bits, size_t mantissa_bits, size_t bias) {
  const hid_t type = H5Tcopy(H5T_IEEE_F32LE);
  check(type >= 0, "libhdf5 refused: copying a type");
  require(H5Tset_fields(type, exponent_bits + mantissa_bits, mantissa_bits, exponent_bits, 0,
                        mantissa_bits),
          "bit fields of a float");
  require(H5Tset_size(type, bytes), "size of a float");
  require(H5Tset_ebias(type, bias), "exponent bias of a float");
  return type;
}

hid_t stored_type(DType dtype) {
  switch (dtype) {
    case DType::f64: return H5Tcopy(H5T_IEEE_F64LE);
    case DType::f32: return H5Tcopy(H5T_IEEE_F32LE);
    case DType::bf16: return narrow_float(2, 8, 7, 127);
    case DType::f16: return narrow_float(2, 5, 10, 15);
    case DType::f8_e4m3: return narrow_float(1, 4, 3, 7);
    case DType::i32: return H5Tcopy(H5T_STD_I32LE);
    case DType::i64: return H5Tcopy(H5T_STD_I64LE);
  }
  return -1;
}

hid_t simple_space(const std::vector<int64_t>& extent) {
  const std::vector<hsize_t> dims(extent.begin(), extent.end());
  return H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr);
}

void write_attribute(hid_t object, const char* key, const std::vector<int64_t>& values) {
  const Handle space(simple_space({static_cast<int64_t>(values.size())}), H5Sclose, "a space");
  const Handle attribute(H5Acreate2(object, key, H5T_STD_I64LE, space, H5P_DEFAULT, H5P_DEFAULT),
                         H5Aclose, key);
  require(H5Awrite(attribute, H5T_NATIVE_INT64, values.data()), key);
}

void write_attribute(hid_t object, const char* key, const std::string& text) {
  const Handle type(H5Tcopy(H5T_C_S1), H5Tclose, "a string type");
  require(H5Tset_size(type, std::max<size_t>(text.size(), 1)), "the length of a string");
  require(H5Tset_strpad(type, H5T_STR_NULLPAD), "a padded string");
  require(H5Tset_cset(type, H5T_CSET_UTF8), "a UTF-8 string");
  const Handle space(H5Screate(H5S_SCALAR), H5Sclose, "a space");
  const Handle attribute(H5Acreate2(object, key, type, space, H5P_DEFAULT, H5P_DEFAULT), H5Aclose,
                         key);
  require(H5Awrite(attribute, type, text.c_str()), key);
}

Handle create_file(const MemoryFile& memory, size_t num_datasets) {
  const Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose, "file access");
  // The stdio driver: the default one insists on resolving /proc/self/fd to a real path. It takes
  // no locks either.
  require(H5Pset_fapl_stdio(access), "the stdio driver");
  require(H5Pset_libver_bounds(access, H5F_LIBVER_V18, H5F_LIBVER_V18), "format 1.8");
  require(H5Pset_fclose_degree(access, H5F_CLOSE_STRONG), "strong close");
  require(H5Pset_alignment(access, 1, kAlignment), "alignment");
  const hsize_t metadata = (num_datasets + 4) * kMetadataPerDataset;
  require(H5Pset_meta_block_size(access, (metadata + kAlignment - 1) / kAlignment * kAlignment),
          "the size of metadata blocks");
  require(H5Pset_small_data_block_size(access, 0), "no shared blocks for small data");
  const Handle creation(H5Pcreate(H5P_FILE_CREATE), H5Pclose, "file creation");
  require(H5Pset_obj_track_times(creation, false), "no times");  // equal states, equal files
  return Handle(H5Fcreate(memory.path().c_str(), H5F_ACC_TRUNC, creation, access), H5Fclose,
                "a new file");
}

// The groups that the path of a dataset goes through, but for those in `made`. libhdf5 would make
// them by itself, with the time of day in them.
void add_groups(hid_t file, const std::string& path, std::set<std::string>& made) {
  for (size_t end = path.find('/', 1); end != std::string::npos; end = path.find('/', end + 1)) {
    const std::string group = path.substr(0, end);
    if (!made.insert(group).second) continue;
    const Handle creation(H5Pcreate(H5P_GROUP_CREATE), H5Pclose, "group creation");
    require(H5Pset_obj_track_times(creation, false), "no times");
    const Handle handle(H5Gcreate2(file, group.c_str(), H5P_DEFAULT, creation, H5P_DEFAULT),
                        H5Gclose, group.c_str());
  }
}

// Makes the dataset; its bytes' place in the file.
int64_t add_dataset(hid_t file, const H5Dataset& dataset) {
  const Handle creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose, "dataset creation");
  require(H5Pset_layout(creation, H5D_CONTIGUOUS), "contiguous layout");
  require(H5Pset_alloc_time(creation, H5D_ALLOC_TIME_EARLY), "early allocation");
  require(H5Pset_fill_time(creation, H5D_FILL_TIME_NEVER), "no filling");
  require(H5Pset_obj_track_times(creation, false), "no times");
  const Handle space(simple_space(dataset.extent), H5Sclose, "a space");
  const Handle type(stored_type(dataset.dtype), H5Tclose, "an element type");
  const Handle made(H5Dcreate2(file, dataset.path.c_str(), type, space, H5P_DEFAULT, creation, 0),
                    H5Dclose, dataset.path.c_str());
  write_attribute(made, "global_shape", dataset.global_shape);
  write_attribute(made, "offset", dataset.offset);
  const haddr_t offset = H5Dget_offset(made);
  check(offset != HADDR_UNDEF, "libhdf5 gave no place to dataset", dataset.path);
  return static_cast<int64_t>(offset);
}

int64_t data_bytes(const H5Dataset& dataset) {
  return std::accumulate(dataset.extent.begin(), dataset.extent.end(), size_of(dataset.dtype),
                         std::multiplies<>());
}

// A limit on the size of files holds for files in memory, too, where libhdf5 would stumble over it
// and could not say why. The estimate is a little high.
void check_size_limit(const std::vector<H5Dataset>& datasets) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return;
  rlim_t bytes = 0;
  for (const H5Dataset& dataset : datasets)
    bytes += static_cast<rlim_t>(data_bytes(dataset)) + kAlignment + kMetadataPerDataset;
  check(bytes <= limit.rlim_cur, ErrorKind::storage, "a checkpoint's shard file needs", bytes,
        "bytes, but files are limited to", limit.rlim_cur, "(ulimit -f); raise the limit");
}

// Everything around the datasets. Metadata may stand in any gap, also between two datasets.
void collect_pieces(const MemoryFile& memory, const std::vector<H5Dataset>& datasets,
                    H5Skeleton& skeleton) {
  std::vector<size_t> order(datasets.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return skeleton.data_offset[a] < skeleton.data_offset[b]; });
  int64_t at = 0;
  const auto gap_until = [&](int64_t end) {
    check(end >= at && end <= skeleton.file_bytes, "libhdf5 laid out overlapping datasets");
    if (end > at) skeleton.pieces.push_back({at, memory.read(at, end - at)});
  };
  for (const size_t index : order) {
    gap_until(skeleton.data_offset[index]);
    at = skeleton.data_offset[index] + data_bytes(datasets[index]);
  }
  gap_until(skeleton.file_bytes);
}

}  // namespace

H5Skeleton h5_skeleton(const std::vector<H5Dataset>& datasets,
                       const std::map<std::string, std::string>& attributes) {
  const std::lock_guard lock(library());
  static const bool started = H5dont_atexit() >= 0;  // its exit handler loops after an I/O error
  check(started, "libhdf5 refused to start");
  require(H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr), "silence");  // a setting of each thread
  check_size_limit(datasets);
  const MemoryFile memory;
  H5Skeleton skeleton;
  {
    Handle file = create_file(memory, datasets.size());
    for (const auto& [key, text] : attributes) write_attribute(file, key.c_str(), text);
    std::set<std::string> groups;
    for (const H5Dataset& dataset : datasets) {
      add_groups(file, dataset.path, groups);
      skeleton.data_offset.push_back(add_dataset(file, dataset));
    }
    require(file.close(), "closing");
  }
  skeleton.file_bytes = memory.size();
  collect_pieces(memory, datasets, skeleton);
  return skeleton;
}

}  // namespace tessera
