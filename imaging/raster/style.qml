<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<!-- written by imaging-restore -->
<qgis version="3.22.0" styleCategories="AllStyleCategories" hasScaleBasedVisibilityFlag="0" minScale="1e+08" maxScale="0">
  <flags>
    <Identifiable>1</Identifiable>
    <Removable>1</Removable>
    <Searchable>1</Searchable>
    <Private>0</Private>
  </flags>
  <pipe>
    <provider>
      <resampling enabled="false" maxOversampling="2" zoomedInResamplingMethod="nearestNeighbour" zoomedOutResamplingMethod="nearestNeighbour" />
    </provider>
    <rasterrenderer type="singlebandpseudocolor" band="$band" opacity="1" alphaBand="-1" nodataColor="" classificationMin="$low" classificationMax="$high">
      <rasterTransparency />
      <minMaxOrigin>
        <limits>CumulativeCut</limits>
        <extent>WholeRaster</extent>
        <statAccuracy>Exact</statAccuracy>
        <cumulativeCutLower>0.02</cumulativeCutLower>
        <cumulativeCutUpper>0.98</cumulativeCutUpper>
        <stdDevFactor>2</stdDevFactor>
      </minMaxOrigin>
      <rastershader>
        <colorrampshader minimumValue="$low" maximumValue="$high" colorRampType="INTERPOLATED" classificationMode="1" clip="0" labelPrecision="4">
          <colorramp type="gradient" name="[source]">
            <Option type="Map">
              <Option name="color1" type="QString" value="68,1,84,255" />
              <Option name="color2" type="QString" value="253,231,37,255" />
              <Option name="discrete" type="QString" value="0" />
              <Option name="rampType" type="QString" value="gradient" />
              <Option name="stops" type="QString" value="0.125;71,44,122,255:0.25;59,82,139,255:0.375;44,115,142,255:0.5;33,144,140,255:0.625;40,173,128,255:0.75;93,200,99,255:0.875;172,220,49,255" />
            </Option>
          </colorramp>
          <item value="$value0" color="#440154" alpha="255" label="$label0" />
          <item value="$value1" color="#472c7a" alpha="255" label="$label1" />
          <item value="$value2" color="#3b528b" alpha="255" label="$label2" />
          <item value="$value3" color="#2c738e" alpha="255" label="$label3" />
          <item value="$value4" color="#21908c" alpha="255" label="$label4" />
          <item value="$value5" color="#28ad80" alpha="255" label="$label5" />
          <item value="$value6" color="#5dc863" alpha="255" label="$label6" />
          <item value="$value7" color="#acdc31" alpha="255" label="$label7" />
          <item value="$value8" color="#fde725" alpha="255" label="$label8" />
          <rampLegendSettings useContinuousLegend="1" orientation="2" direction="0" prefix="" suffix="$suffix" minimumLabel="" maximumLabel="">
            <numericFormat id="basic">
              <Option type="Map">
                <Option name="decimal_separator" type="QChar" value="" />
                <Option name="decimals" type="int" value="6" />
                <Option name="rounding_type" type="int" value="0" />
                <Option name="show_plus" type="bool" value="false" />
                <Option name="show_thousand_separator" type="bool" value="false" />
                <Option name="show_trailing_zeros" type="bool" value="false" />
                <Option name="thousand_separator" type="QChar" value="" />
              </Option>
            </numericFormat>
          </rampLegendSettings>
        </colorrampshader>
      </rastershader>
    </rasterrenderer>
    <brightnesscontrast brightness="0" contrast="0" gamma="1" />
    <huesaturation saturation="0" grayscaleMode="0" colorizeOn="0" colorizeRed="255" colorizeGreen="128" colorizeBlue="128" colorizeStrength="100" />
    <rasterresampler maxOversampling="2" />
    <resamplingStage>resamplingFilter</resamplingStage>
  </pipe>
  <blendMode>0</blendMode>
</qgis>
