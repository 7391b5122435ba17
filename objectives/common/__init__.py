"""What several image tasks share: photographs and panoramas, files of all kinds, image scores, perceptual distances.

colour        the sRGB transfer curve, luma, saturation, rounding to 8 bit
photographs   the photographs that ship inside scikit-image and scikit-learn, pinned by sha256; nothing is downloaded
panoramas     ten panoramas of real light, pinned as well, and views of them; scenes: the origin of either
packaged      a file that an installed package carries, pinned: photographs, panoramas, published weights
light         files of high dynamic range; exr and radiance serve it
files         a user's own pictures of 8 and 16 bits; formats, headers, listing and profiles serve it
folder        work on a folder: every file accounted for, outputs that are never lost, a stop that goes on (record)
crops         random squares of a photograph at a random scale, and smaller copies
columns       what examples came to with a method, where no task is at hand
image_scores  PSNR, SSIM and MS-SSIM, one value per image
perceptual    perceptual distances: `pged` needs no weights, `stlpips` needs those of an installed package
fields        checks of a task's fields
command       the command line that applies a winner to a user's own files
"""
