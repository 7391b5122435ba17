"""What several image tasks share: photographs, colour, image files, image scores, perceptual distances.

colour        the sRGB transfer curve, luma, saturation, rounding to 8 bit
photographs   the photographs that ship inside scikit-image and scikit-learn, pinned by sha256; never a download
files         a user's own PNG, JPEG, BMP or TIFF files
crops         random squares of a photograph at a random scale
image_scores  PSNR, SSIM, MS-SSIM, one value an image
perceptual    distances that follow what is seen: `pged` needs nothing, `stlpips` needs the package's weights
"""
