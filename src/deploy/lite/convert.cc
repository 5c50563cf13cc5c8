// Converts an ONNX file by MindSpore Lite: convert IN.onnx OUT writes OUT.mindir.
//
// The wheel of MindSpore Lite holds the converter's library, but not its header; what is called of it is declared here.
#include <include/api/status.h>
#include <include/api/types.h>
#include <include/registry/converter_context.h>

#include <iostream>
#include <memory>
#include <vector>

namespace mindspore {

struct ConverterPara;

class MS_API Converter {
 public:
  Converter();
  ~Converter() = default;
  void SetSaveType(ModelType type);
  Status Convert(converter::FmkType fmk, const std::vector<char> &model, const std::vector<char> &output,
                 const std::vector<char> &weights);

 private:
  std::shared_ptr<ConverterPara> data_;
};

}  // namespace mindspore

int main(int count, char **words) {
  if (count != 3) return 2;
  mindspore::Converter converter;
  converter.SetSaveType(mindspore::kMindIR);
  const mindspore::Status status = converter.Convert(
      mindspore::converter::kFmkTypeOnnx, mindspore::StringToChar(words[1]), mindspore::StringToChar(words[2]), {});
  if (status == mindspore::kSuccess) return 0;
  std::cerr << status.ToString() << std::endl;
  return 1;
}
